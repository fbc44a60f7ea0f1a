import { lockClass, otherLocks } from '../../../sql/postgres/locks.ts'

const letters = (S: string): string => `
-- Positions come again when the sequence lags behind the rows, after a restore of the data alone or with logical
-- replication. So a dead letter is told apart by a number of chance besides, which needs no sequence.
alter table ${S}.dead add column letter integer not null default 0;
alter table ${S}.dead alter column letter set default (floor(random() * 2147483647))::integer,
  drop constraint dead_pkey, add primary key (position, letter);
`

const deadRetry = (S: string): string => `
-- Puts dead letters back, in the order of their positions. "places" names those that stayed in the outbox: those
-- that hold back their key go on in their place; the others, and moved ones, behind everything else of their key.
create function ${S}.dead_retry(positions bigint[], letters integer[], places bigint[]) returns bigint
language plpgsql volatile set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
declare
  given record;
  place bigint;
  retried bigint := 0;
begin
  perform ${S}.lock_keys(array(
    select d.key from ${S}.dead d join unnest(positions, letters) as u(position, letter) on d.position = u.position and d.letter = u.letter
    union all select o.dead_key from ${S}.outbox o where o.position = any (places) and o.died_at is not null));
  for given in
    select u.position, u.letter from unnest(positions, letters) as u(position, letter)
    union all select p, -1 from unnest(places) as p
    order by 1, 2
  loop
    if given.letter >= 0 then
      with gone as (delete from ${S}.dead d where d.position = given.position and d.letter = given.letter returning d.*)
      insert into ${S}.outbox (id, key, type, transport, kind, name, headers, body, added_at)
      select g.id, g.key, g.type, g.transport, g.kind, g.name, g.headers, g.body, g.added_at from gone g;
    else
      update ${S}.outbox o set position = default, key = o.dead_key, dead_key = null
      where o.position = given.position and o.died_at is not null and o.dead_key is not null returning o.position into place;
      update ${S}.outbox o
      set visible_at = clock_timestamp(), token = null, attempts = 0, error = null, died_at = null, dead_reason = null, maybe_published = false
      where o.position = coalesce(place, given.position) and o.died_at is not null;
    end if;
    retried := retried + case when found then 1 else 0 end;
  end loop;
  return retried;
end $$;
`

const wholeRows = (S: string): string => `
-- A table that is published for logical replication refuses to delete rows unless it can name them. An index
-- would have to be kept up by every settlement; naming the whole row costs only those who delete.
alter table ${S}.sent replica identity full;
do $$
declare
  part record;
begin
  for part in select i.inhrelid::regclass as name from pg_inherits i where i.inhparent = '${S}.sent'::regclass loop
    execute format('alter table %s replica identity full', part.name);
  end loop;
end $$;
`

const partitions = (S: string, schema: string): string => `
-- Makes the partitions of kept messages for this day and the next one (UTC).
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
      execute format('create table %I.%I partition of ${S}.sent for values from (%L) to (%L)', '${schema}', part,
        (today + ahead)::timestamp at time zone 'UTC', (today + ahead + 1)::timestamp at time zone 'UTC');
      execute format('alter table %I.%I replica identity full', '${schema}', part);
    end if;
  end loop;
end $$;
`

/** Step 7: ids of dead letters, and kept rows that can be deleted under any publication. */
export const ownIds = (S: string, schema: string): string =>
  [letters(S), deadRetry(S), wholeRows(S), partitions(S, schema)].join('')
