import { lockClass, otherLocks } from '../../../sql/postgres/locks.ts'

/** Step 8: partitions of kept rows come and go without holding up those who settle. */
export const shortLocks = (S: string, schema: string): string => `
-- Makes the partitions of kept messages for this day and the next one (UTC). Attaching a table waits for nobody who
-- reads or writes the others; "create table ... partition of" would, and everybody behind it.
create or replace function ${S}.sent_partitions() returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  today date := (clock_timestamp() at time zone 'UTC')::date;
  part text;
begin
  perform pg_advisory_xact_lock(${lockClass(schema)}, ${otherLocks.partitions});
  for ahead in 0..1 loop
    part := 'sent_' || to_char(today + ahead, 'YYYYMMDD');
    if not exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = '${schema}' and c.relname = part) then
      execute format('create table %I.%I (like ${S}.sent including all)', '${schema}', part);
      execute format('alter table %I.%I replica identity full', '${schema}', part);
      execute format('alter table ${S}.sent attach partition %I.%I for values from (%L) to (%L)', '${schema}', part,
        (today + ahead)::timestamp at time zone 'UTC', (today + ahead + 1)::timestamp at time zone 'UTC');
    end if;
  end loop;
end $$;

-- Drops the partitions that hold nothing younger than this many milliseconds. Returns how many rows they held, as
-- estimated by the planner. Whoever settles waits behind a drop that waits for a reader, such as a dump: so it waits
-- for an instant only, and comes again with the next round.
create or replace function ${S}.sent_drop(older_than_ms double precision) returns bigint
language plpgsql volatile set search_path = pg_catalog, pg_temp set lock_timeout = '50ms' as $$
declare
  part record;
  rows_dropped bigint := 0;
begin
  for part in
    select c.relname, greatest(c.reltuples, 0)::bigint as estimate from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = '${S}.sent'::regclass and c.relname ~ '^sent_[0-9]{8}$'
      and (to_date(right(c.relname, 8), 'YYYYMMDD') + 1)::timestamp at time zone 'UTC'
        <= clock_timestamp() - older_than_ms * interval '1 millisecond'
    order by c.relname
  loop
    begin
      execute format('drop table %I.%I', '${schema}', part.relname);
    exception when lock_not_available then
      return rows_dropped;
    end;
    rows_dropped := rows_dropped + part.estimate;
  end loop;
  return rows_dropped;
end $$;
`
