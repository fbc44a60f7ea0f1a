import { lockClass, lockNumber, otherLocks } from '../../../sql/postgres/locks.ts'

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

const outboxSave = (S: string): string => `
-- Adds messages: "messages" is a JSON array, "bodies" the bodies one after the other. The keys are
-- locked before positions are drawn, and whether a key has open rows is asked in a later statement,
-- for the reason above. "express": the writer would take it, if nothing else of its key is open.
create function ${S}.outbox_save(messages text, bodies bytea, express_token uuid, grace_ms double precision)
returns table (saved_position text, born_claimed boolean, transaction_id text)
language plpgsql volatile set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
declare
  given json := messages::json;
  allowed boolean := express_token is not null and current_setting('synchronous_commit') in ('on', 'remote_apply');
  fresh boolean := current_setting('transaction_isolation') = 'read committed';
  keys text[] := array(select distinct k.key from json_to_recordset(given) as k(key text) where k.key is not null);
  waiting text[] := '{}';
begin
  if cardinality(keys) > 0 then
    perform ${S}.lock_keys(keys);
    if allowed then
      waiting := array(select k from unnest(keys) k where not fresh or exists (select from ${S}.outbox e where e.key = k));
    end if;
  end if;
  return query
  insert into ${S}.outbox (id, key, visible_at, token, type, transport, kind, name, headers, body)
  select m.id, m.key, clock_timestamp() + case when m.born then grace_ms else m.delay end * interval '1 millisecond',
    case when m.born then express_token end, m.type, m.transport, m.kind, m.name, m.headers, substring(bodies from m.start + 1 for m.length)
  from (
    select r.*, coalesce(allowed and r.express and w.key is null, false) as born
    from json_to_recordset(given) as r(n integer, id uuid, key text, delay double precision, express boolean, type text,
      transport text, kind text, name text, headers text, start integer, length integer)
    left join unnest(waiting) as w(key) on w.key = r.key
    order by r.n offset 0
  ) m
  returning outbox.position::text, outbox.token is not null, pg_current_xact_id()::text;
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
    outboxSave(S),
    deadRetry(S),
    sentPartitions(S, schema),
    sentDrop(S, schema),
  ].join('')
