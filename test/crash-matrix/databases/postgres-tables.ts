/** The tables of one cell besides those of Mersal, and what its triggers see. */

/** `S`: name of the schema. */
export const ownTables = (S: string): string => `
create table ${S}.students (number int primary key);
create table ${S}.effects (place bigint generated always as identity, number int not null, part int not null, message text not null);
create table ${S}.put_right (yes boolean);
create table ${S}.takes (place bigint generated always as identity, id text not null, owner text not null, former uuid, token uuid not null);
create function ${S}.note_take() returns trigger language plpgsql as $$
begin
  if new.token is not null and (tg_op = 'INSERT' or new.token is distinct from old.token) then
    insert into ${S}.takes (id, owner, former, token)
    values (new.id::text, current_setting('application_name'), case when tg_op = 'UPDATE' then old.token end, new.token);
  end if;
  return null;
end $$;
create trigger note_take after insert or update of token on ${S}.outbox for each row execute function ${S}.note_take();
`

/** Rows whose time is over: the janitors have something to do. */
export const oldRows = (S: string): string => `
insert into ${S}.inbox (consumer, message_id, handled_at) select 'someone', 'old ' || n, now() - interval '100 days' from generate_series(1, 40) n;
select ${S}.sent_partitions();
do $$
declare day date := ((now() - interval '2 hours') at time zone 'UTC')::date;
begin
  execute format('create table if not exists ${S}.%I partition of ${S}.sent for values from (%L) to (%L)', 'sent_' || to_char(day, 'YYYYMMDD'),
    day::timestamp at time zone 'UTC', (day + 1)::timestamp at time zone 'UTC');
end $$;
insert into ${S}.sent select -n, gen_random_uuid(), null, 'old', 'default', 'topic', 'old', '{}', '', now() - interval '2 hours', now() - interval '2 hours'
from generate_series(1, 40) n;
`

/** A queue that nobody reads, beside that of the consumer. */
export const straightQueues = (S: string, queue: string): string => `
insert into ${S}.queue (name) values ('${queue}'), ('log');
insert into ${S}.queue_subscription (topic, queue)
select t.topic, q.id from ${S}.queue q join (values ('students.registered', '${queue}'), ('students.registered', 'log'), ('students.billed', 'log')) t(topic, name) on t.name = q.name;
`

/** What is not done yet, in one row. `$1` numbers that have to be committed. */
export const progress = (S: string): string => `
select (select count(*)::int from ${S}.students where number = any ($1::int[])) as students,
  (select count(*)::int from ${S}.outbox where died_at is null) as outbox,
  (select count(distinct (number, part))::int from ${S}.effects) as effects,
  (select count(*)::int from ${S}.dead) as dead,
  (select count(*)::int from ${S}.inbox where consumer = 'someone') as old_inbox,
  (select count(*)::int from ${S}.sent where position < 0) as old_sent`
