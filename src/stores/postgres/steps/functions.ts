import { lockClass, lockNumber, otherLocks } from '../../../sql/postgres/locks.ts'
import { outboxSave } from './outbox-save.ts'

const lockKeys = (S: string, schema: string): string => `
-- Locks these keys until the transaction ends, sorted by lock number so that two writers never
-- wait for each other. 1024 numbers, so that no transaction can exhaust the lock table.
create function ${S}.lock_keys(keys text[]) returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
  perform pg_advisory_xact_lock(${lockClass(schema)}, b.bucket)
  from (select distinct ${lockNumber('k')} as bucket from unnest(keys) k where k is not null order by 1 offset 0) b;
end $$;
`

const keyOpen = (S: string, schema: string): string => `
-- Locks a key as above, and tells whether it has open rows: a statement of its own in a volatile
-- function, so that its snapshot (READ COMMITTED) is younger than the lock.
create function ${S}.key_open(given text) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
begin
  perform pg_advisory_xact_lock(${lockClass(schema)}, ${lockNumber('given')});
  return exists (select from ${S}.outbox e where e.key = given);
end $$;
`

const deadRetry = (S: string): string => `
-- Puts dead letters back: moved ones behind everything else of their key, blocking ones in their place.
create function ${S}.dead_retry(positions bigint[]) returns bigint
language plpgsql volatile set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
declare
  moved bigint;
  freed bigint;
begin
  perform ${S}.lock_keys(array(select d.key from ${S}.dead d where d.position = any (positions)));
  with gone as (delete from ${S}.dead d where d.position = any (positions) returning d.*)
  insert into ${S}.outbox (id, key, type, transport, kind, name, headers, body, added_at)
  select g.id, g.key, g.type, g.transport, g.kind, g.name, g.headers, g.body, g.added_at from gone g order by g.position;
  get diagnostics moved = row_count;
  update ${S}.outbox o
  set visible_at = clock_timestamp(), token = null, attempts = 0, error = null, died_at = null, dead_reason = null, maybe_published = false
  where o.position = any (positions) and o.died_at is not null;
  get diagnostics freed = row_count;
  return moved + freed;
end $$;
`

const sentPartitions = (S: string, schema: string): string => `
-- Makes the partitions of kept messages for this day and the next one (UTC).
create function ${S}.sent_partitions() returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  today date := (clock_timestamp() at time zone 'UTC')::date;
begin
  perform pg_advisory_xact_lock(${lockClass(schema)}, ${otherLocks.partitions});
  for ahead in 0..1 loop
    if not exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where n.nspname = '${schema}' and c.relname = 'sent_' || to_char(today + ahead, 'YYYYMMDD')) then
      execute format('create table %I.%I partition of ${S}.sent for values from (%L) to (%L)', '${schema}',
        'sent_' || to_char(today + ahead, 'YYYYMMDD'),
        (today + ahead)::timestamp at time zone 'UTC', (today + ahead + 1)::timestamp at time zone 'UTC');
    end if;
  end loop;
end $$;
`

const sentDrop = (S: string, schema: string): string => `
-- Drops the partitions that hold nothing younger than this many milliseconds. Returns how many rows
-- they held, as estimated by the planner: counting them would cost what dropping them saves.
create function ${S}.sent_drop(older_than_ms double precision) returns bigint
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
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
    execute format('drop table %I.%I', '${schema}', part.relname);
    rows_dropped := rows_dropped + part.estimate;
  end loop;
  return rows_dropped;
end $$;
`

/** Step 2. */
export const functions = (S: string, schema: string): string =>
  [
    lockKeys(S, schema),
    keyOpen(S, schema),
    outboxSave(S, 'first'),
    deadRetry(S),
    sentPartitions(S, schema),
    sentDrop(S, schema),
  ].join('')
