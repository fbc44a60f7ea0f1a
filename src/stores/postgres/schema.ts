import { quoteIdentifier } from '../../sql/identifiers.ts'
import { checkMigrationSql } from '../../sql/shared/options.ts'
import { migrationSql, type PostgresStep, type PostgresTables } from '../../sql/postgres/migrate.ts'
import { contractFunctions } from './statements/contract-functions.ts'
import { attempts } from './steps/attempts.ts'
import {
  delayedFound,
  delayedFoundBeside,
  dueTimes,
  dueTimesFound,
  dueTimesFoundBeside,
} from './steps/due-times.ts'
import { functions } from './steps/functions.ts'
import { ownIds } from './steps/own-ids.ts'
import { sameRights } from './steps/same-rights.ts'
import { shortLocks } from './steps/short-locks.ts'
import { strictContract } from './steps/strict-contract.ts'
import { tables } from './steps/tables.ts'

const pauses = (S: string): string => `
-- What operators have paused; relays read it at least once a second and leave such rows alone.
create table ${S}.pause (
  kind text not null check (kind in ('destination', 'key')),
  name text not null,
  reason text not null default '',
  paused_at timestamptz not null default clock_timestamp(),
  primary key (kind, name)
);

${sameRights(S, 'pause')}`

const autovacuum = (S: string): string => `
-- Rows live shortly, and dead ones lie where every claim begins to read. Where no relay may vacuum, the
-- server does so by these: whenever it looks, unless next to nothing has changed, and without pauses.
-- Rows that were only inserted are no reason, since they are about to go.
alter table ${S}.outbox set (
  autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0,
  autovacuum_vacuum_insert_threshold = -1,
  toast.autovacuum_vacuum_threshold = 2000, toast.autovacuum_vacuum_scale_factor = 0.02, toast.autovacuum_vacuum_cost_delay = 0
);
`

const largeDeadLetters = (S: string): string => `
-- Large dead letters that shall not hold back their key stay in the outbox and lay their key aside here.
alter table ${S}.outbox add column dead_key text;

-- Puts dead letters back, in the order of their positions: those that hold back their key in their place, the
-- others behind everything else of their key. Those that stayed in the outbox are not copied.
create or replace function ${S}.dead_retry(positions bigint[]) returns bigint
language plpgsql volatile set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
declare
  letter record;
  retried bigint := 0;
begin
  perform ${S}.lock_keys(array(select d.key from ${S}.dead d where d.position = any (positions)
    union all select o.dead_key from ${S}.outbox o where o.position = any (positions) and o.died_at is not null));
  for letter in
    select d.position, true as moved, false as behind from ${S}.dead d where d.position = any (positions)
    union all
    select o.position, false, o.dead_key is not null from ${S}.outbox o where o.position = any (positions) and o.died_at is not null
    order by 1
  loop
    if letter.moved then
      with gone as (delete from ${S}.dead d where d.position = letter.position returning d.*)
      insert into ${S}.outbox (id, key, type, transport, kind, name, headers, body, added_at)
      select g.id, g.key, g.type, g.transport, g.kind, g.name, g.headers, g.body, g.added_at from gone g;
    else
      if letter.behind then
        update ${S}.outbox o set position = default, key = o.dead_key, dead_key = null
        where o.position = letter.position and o.died_at is not null returning o.position into letter.position;
      end if;
      update ${S}.outbox o
      set visible_at = clock_timestamp(), token = null, attempts = 0, error = null, died_at = null, dead_reason = null, maybe_published = false
      where o.position = letter.position and o.died_at is not null;
    end if;
    retried := retried + case when found then 1 else 0 end;
  end loop;
  return retried;
end $$;
`

const uncheckedKinds = (S: string): string => `
-- The server reads the text of a check anew for every insert, which cost a fifth of it. Whoever claims a row whose
-- kind is neither a queue nor a topic makes it a dead letter.
alter table ${S}.outbox drop constraint if exists outbox_kind_check;
`

/** Every step, in order. `schema` has passed `checkIdentifier`. */
function migrations(schema: string): readonly PostgresStep[] {
  const S = quoteIdentifier(schema)
  return [
    { version: 1, name: 'tables', sql: tables(S) },
    { version: 2, name: 'functions', sql: functions(S, schema) },
    { version: 3, name: 'functions for other languages', sql: contractFunctions(S) },
    { version: 4, name: 'pauses', sql: pauses(S) },
    { version: 5, name: 'autovacuum', sql: autovacuum(S) },
    { version: 6, name: 'large dead letters', sql: largeDeadLetters(S) },
    { version: 7, name: 'ids of dead letters', sql: ownIds(S, schema) },
    { version: 8, name: 'short locks', sql: shortLocks(S, schema) },
    { version: 9, name: 'strict functions for other languages', sql: strictContract(S) },
    { version: 10, name: 'unchecked kinds', sql: uncheckedKinds(S) },
    { version: 11, name: 'times of delayed messages', sql: dueTimes(S) },
    {
      version: 12,
      name: 'index of delayed messages',
      sql: dueTimesFound(S),
      beside: dueTimesFoundBeside(S),
    },
    {
      version: 13,
      name: 'ids of delayed messages',
      sql: delayedFound(S),
      beside: delayedFoundBeside(S),
    },
    { version: 14, name: 'history of attempts', sql: attempts(S) },
  ]
}

/** The tables of the store in this schema. */
export function storeTables(schema: string): PostgresTables {
  const place = `in schema '${schema}'`
  return { name: 'postgres', place, schema, table: 'migration', steps: migrations(schema) }
}

/**
 * Everything as plain SQL, for those who run migrations with tools of their own. `from`: the
 * version that is already there. Throws `MERSAL_INVALID_OPTIONS`.
 */
export function postgresMigrationSql(
  options: { readonly schema?: string; readonly from?: number } = {},
): string {
  const { schema, from } = checkMigrationSql('postgresMigrationSql()', options, 'mersal')
  return migrationSql(storeTables(schema), from)
}
