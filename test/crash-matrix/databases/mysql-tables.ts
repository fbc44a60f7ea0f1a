/** The tables of one cell on MariaDB besides those of Mersal, and what its triggers see. */

const TAKER = `substring_index(user(), '@', 1)`

/** `user()` is whoever has logged in, also inside a trigger: the name of the process. */
export const ownTables: readonly string[] = [
  'create table students (number int primary key)',
  'create table effects (place bigint auto_increment primary key, number int not null, part int not null, message varchar(200) not null)',
  'create table put_right (yes boolean)',
  'create table takes (place bigint auto_increment primary key, id varchar(36) not null, owner varchar(100) not null, former varchar(36), token varchar(36) not null)',
  `create trigger note_insert after insert on mersal_outbox for each row
    insert into takes (id, owner, former, token)
    select new.id, ${TAKER}, null, new.token from dual where new.token is not null`,
  `create trigger note_update after update on mersal_outbox for each row
    insert into takes (id, owner, former, token)
    select new.id, ${TAKER}, old.token, new.token from dual
    where new.token is not null and not (new.token <=> old.token)`,
]

/** Rows whose time is over: the janitors have something to do. */
export const oldRows: readonly string[] = [
  `insert into mersal_inbox (consumer, message_id, handled_at, recorder, turn)
    select 'someone', concat('old ', n.seq), utc_timestamp(6) - interval 100 day, 'nobody', 1 from seq_1_to_40 n`,
  `insert into mersal_sent (position, id, type, transport, kind, name, headers, body, sent_at, added_at)
    select 0, uuid(), 'old', 'default', 'topic', 'old', '{}', '', utc_timestamp(6) - interval 2 hour, utc_timestamp(6) - interval 2 hour
    from seq_1_to_40 n`,
]

/** What is not done yet, in one row. `S`: the database; `?`: numbers that have to be committed. */
export const progress = (S: string): string => `
select (select count(*) from ${S}.students where number in (?)) as students,
  (select count(*) from ${S}.mersal_outbox where died_at is null) as outbox,
  (select count(distinct number, part) from ${S}.effects) as effects,
  (select count(*) from ${S}.mersal_dead) as dead,
  (select count(*) from ${S}.mersal_inbox where consumer = 'someone') as old_inbox,
  (select count(*) from ${S}.mersal_sent where position = 0) as old_sent`
