import { quoteIdentifier } from '../../sql/identifiers.ts'
import { checkMigrationSql } from '../../sql/shared/options.ts'
import { lockClass, lockNumber } from '../../sql/postgres/locks.ts'
import { migrationSql, type PostgresTables } from '../../sql/postgres/migrate.ts'

const tables = (S: string): string => `
create table ${S}.queue (
  id integer generated always as identity primary key,
  name text not null unique
);

create table ${S}.queue_subscription (
  topic text not null,
  queue integer not null references ${S}.queue,
  primary key (topic, queue)
);

-- Messages that nobody has acknowledged yet. A row may be taken by whoever comes after visible_at; the
-- token fences a former holder. Of a key, only the first row of a queue may be taken. No index on
-- visible_at or token: updates must stay heap-only, for which half of each page is left free. Rows
-- live shortly, so the table is vacuumed early. No foreign key: every insert would lock the row of its queue.
create table ${S}.queue_message (
  queue integer not null,
  position bigint generated always as identity (cache 1),
  visible_at timestamptz not null,
  token uuid,
  attempts integer not null default 0,
  id text not null,
  type text not null,
  key text,
  headers text not null,
  body bytea not null,
  primary key (queue, position)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500);
create index queue_message_key on ${S}.queue_message (queue, key, position) where key is not null;

-- Messages that their consumers have given up.
create table ${S}.queue_dead (
  number bigint generated always as identity primary key,
  queue integer not null references ${S}.queue,
  reason text not null,
  error text not null,
  died_at timestamptz not null default clock_timestamp(),
  attempts integer not null,
  id text not null,
  type text not null,
  key text,
  headers text not null,
  body bytea not null
);
`

const lock = (S: string, schema: string): string => `
-- Locks these keys until the transaction ends, with the numbers of the outbox and in their order.
-- Patient: waits for all of them. Else: returns the keys that others hold, and waits for none.
create function ${S}.queue_lock(keys text[], patient boolean) returns text[]
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
  bucket integer;
  taken integer[] := '{}';
begin
  for bucket in select distinct ${lockNumber('k')} from unnest(keys) k where k is not null order by 1 loop
    if patient then
      perform pg_advisory_xact_lock(${lockClass(schema)}, bucket);
    elsif not pg_try_advisory_xact_lock(${lockClass(schema)}, bucket) then
      taken := taken || bucket;
    end if;
  end loop;
  return array(select k from unnest(keys) k where ${lockNumber('k')} = any (taken));
end $$;
`

const keyFree = (S: string, schema: string): string => `
-- Locks the key until the transaction ends. Returns whether nothing of it is in the outbox of this schema, which can
-- be told only at READ COMMITTED, where the second statement has a younger snapshot than the lock.
create function ${S}.queue_key_free(given text) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
begin
  perform pg_advisory_xact_lock(${lockClass(schema)}, ${lockNumber('given')});
  if current_setting('transaction_isolation') <> 'read committed' then return false; end if;
  perform from ${S}.outbox e where e.key = given limit 1;
  return not found;
end $$;
`

const put = (S: string): string => `
-- Puts messages into their queues: "messages" is a JSON array, "bodies" the bodies one after the
-- other, "keys" a JSON array of the keys to lock before positions are drawn. Answers one row per
-- message: put (with the queues), discarded, unroutable, held (behind one of its key that was not
-- put), busy (somebody holds its key), outbox.
--
-- Straight: inside a transaction of the outbox in this schema. A keyed message whose key has rows in
-- the outbox must queue up behind them; what operators have paused goes there, too. Each statement of a volatile function has a snapshot of its
-- own (READ COMMITTED), younger than the locks; above that level nobody can look behind the lock.
create function ${S}.queue_put(messages text, bodies bytea, keys text, straight boolean, discard boolean)
returns table (answer text, queue_ids text, transaction_id text)
language plpgsql volatile set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
declare
  given_keys text[] := array(select k from json_array_elements_text(keys::json) k);
  looks boolean := straight and current_setting('transaction_isolation') = 'read committed';
  busy text[] := '{}';
  held text[] := '{}';
  pauses boolean := false;
  targets integer[];
  m record;
begin
  transaction_id := pg_current_xact_id()::text;
  if cardinality(given_keys) > 0 then
    busy := ${S}.queue_lock(given_keys, straight);
  end if;
  if straight then
    pauses := exists (select from ${S}.pause);
  end if;
  for m in select r.* from json_to_recordset(messages::json) as r(n integer, id text, key text, delay double precision, type text,
    transport text, kind text, name text, headers text, start integer, length integer) order by r.n
  loop
    queue_ids := '';
    answer := case
      when m.key is null then null
      when m.key = any (busy) then 'busy'
      when m.key = any (held) then 'held'
      when straight and not looks then 'outbox'
    end;
    if answer is null and straight and m.key is not null then
      perform from ${S}.outbox e where e.key = m.key limit 1;
      if found then answer := 'outbox'; end if;
    end if;
    if answer is null and pauses then
      perform from ${S}.pause p where (p.kind = 'key' and p.name = m.key)
        or (p.kind = 'destination' and p.name = m.transport || '/' || m.kind || '/' || m.name);
      if found then answer := 'outbox'; end if;
    end if;
    if answer is null then
      if m.kind = 'queue' then
        targets := array(select q.id from ${S}.queue q where q.name = m.name);
      else
        targets := array(select s.queue from ${S}.queue_subscription s where s.topic = m.name order by 1);
      end if;
      if cardinality(targets) > 0 then
        insert into ${S}.queue_message (queue, visible_at, id, type, key, headers, body)
        select t, clock_timestamp() + m.delay * interval '1 millisecond', m.id, m.type, m.key, m.headers, substring(bodies from m.start + 1 for m.length)
        from unnest(targets) t;
        answer := 'put';
        queue_ids := array_to_string(targets, ',');
      else
        answer := case when discard and m.kind = 'topic' then 'discarded' else 'unroutable' end;
      end if;
    end if;
    if m.key is not null and answer not in ('put', 'discarded', 'busy') then
      held := held || m.key;
    end if;
    return next;
  end loop;
end $$;
`

const deadRetry = (S: string): string => `
-- Puts dead letters back behind everything else of their queues and keys. Returns how many, and which queues.
create function ${S}.queue_dead_retry(numbers bigint[]) returns table (retried text, queue_ids text)
language plpgsql volatile set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
begin
  perform ${S}.queue_lock(array(select d.key from ${S}.queue_dead d where d.number = any (numbers)), true);
  return query
  with gone as (delete from ${S}.queue_dead d where d.number = any (numbers) returning d.*),
  back as (
    insert into ${S}.queue_message (queue, visible_at, id, type, key, headers, body)
    select g.queue, clock_timestamp(), g.id, g.type, g.key, g.headers, g.body from gone g order by g.number
    returning queue_message.queue
  )
  select count(*)::text, coalesce(string_agg(distinct b.queue::text, ','), '') from back b;
end $$;
`

const functions = (S: string, schema: string): string =>
  [lock(S, schema), keyFree(S, schema), put(S), deadRetry(S)].join('')

/**
 * What handlers asked to come later keeps since when; what should be a dead letter and cannot be
 * stored as one keeps why.
 */
const waiting = (S: string): string => `
alter table ${S}.queue_message
  add column postponed_since bigint,
  add column dead_reason text,
  add column dead_error text;
`

/** The tables of the queue in this schema. */
export function queueTables(schema: string): PostgresTables {
  const S = quoteIdentifier(schema)
  const steps = [
    { version: 1, name: 'tables', sql: tables(S) },
    { version: 2, name: 'functions', sql: functions(S, schema) },
    { version: 3, name: 'waiting', sql: waiting(S) },
  ]
  const place = `in schema '${schema}'`
  return { name: 'postgres queue', place, schema, table: 'queue_migration', steps }
}

/**
 * Everything as plain SQL, for those who run migrations with tools of their own. `from`: the
 * version that is already there. Throws `MERSAL_INVALID_OPTIONS`.
 */
export function postgresQueueMigrationSql(
  options: { readonly schema?: string; readonly from?: number } = {},
): string {
  const { schema, from } = checkMigrationSql('postgresQueueMigrationSql()', options, 'mersal')
  return migrationSql(queueTables(schema), from)
}
