import { lockClass, otherLocks } from '../../../sql/postgres/locks.ts'
import { deadRetry } from './dead-retry.ts'

const letters = (S: string): string => `
-- Positions come again when the sequence lags behind the rows, after a restore of the data alone or with logical
-- replication. So a dead letter is told apart by a number of chance besides, which needs no sequence.
alter table ${S}.dead add column letter integer not null default 0;
alter table ${S}.dead alter column letter set default (floor(random() * 2147483647))::integer,
  drop constraint dead_pkey, add primary key (position, letter);
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
  [letters(S), deadRetry(S, 'first'), wholeRows(S), partitions(S, schema)].join('')
