import type { Finding } from '../../../core/operations.ts'
import type { Own } from '../../../sql/postgres/pool/pool.ts'
import { type Numbered, remedyOf } from '../../../sql/postgres/sequence-errors.ts'
import { type SequenceState, sequenceState } from '../../../sql/postgres/sequence.ts'

/** Every table of the schema with what an operator, a restore or a tool may have made of it. */
const tables = `
select c.relname as name, c.relpersistence = 'u' as unlogged, c.relrowsecurity as row_security,
  c.relreplident = 'n' or c.relreplident = 'd' and not exists (
    select from pg_catalog.pg_index i where i.indrelid = c.oid and i.indisprimary) as nameless,
  exists (select from pg_catalog.pg_trigger t where t.tgrelid = c.oid and not t.tgisinternal and t.tgtype & 3 = 3 and t.tgenabled <> 'D') as triggers
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where n.nspname = $1::text and c.relkind = 'r' and (c.relname in ('outbox', 'dead', 'inbox', 'pause')
  or c.relname ~ '^sent_[0-9]{8}$' or c.relname ~ '^queue(_|$)') order by 1`

interface TableRow {
  readonly name: string
  readonly unlogged: boolean
  readonly row_security: boolean
  readonly nameless: boolean
  readonly triggers: boolean
}

/** What is wrong with the tables themselves, one finding for each kind. */
export async function examineTables(own: Own, schema: string): Promise<readonly Finding[]> {
  const { rows } = await own.run<TableRow>('examining the tables', tables, [schema])
  if (rows.length === 0) return []
  const { rows: settings } = await own.run<{ only: string }>(
    'examining the tables',
    `select current_setting('default_transaction_read_only') as only`,
    [],
  )
  const found = [
    ...kinds.flatMap((kind) => finding(kind, rows)),
    ...readOnly(settings[0]?.only === 'on'),
  ]
  const tidy: Finding = { level: 'ok', subject: 'postgres tables', text: 'as they were made' }
  const position = { schema, table: 'outbox', column: 'position' }
  return [
    ...(found.length === 0 ? [tidy] : found),
    ...sequence(position, await sequenceState(own, position)),
  ]
}

interface Kind extends Pick<Finding, 'level'> {
  readonly is: (row: TableRow) => boolean
  readonly text: string
  readonly remedy: string
}

const kinds: readonly Kind[] = [
  {
    level: 'fault',
    is: ({ unlogged }) => unlogged,
    text: 'unlogged: a crash of the server empties them',
    remedy: 'alter table ... set logged',
  },
  {
    level: 'warning',
    is: ({ nameless }) => nameless,
    text: 'no primary key and no replica identity: under a publication of all tables nothing can be deleted from them',
    remedy: 'alter table ... replica identity full',
  },
  {
    level: 'warning',
    is: ({ row_security }) => row_security,
    text: 'row-level security is on: a policy may hide rows from relays',
    remedy: 'alter table ... disable row level security',
  },
  {
    level: 'warning',
    is: ({ triggers }) => triggers,
    text: 'triggers before each row: one that refuses or returns null keeps rows from being added, settled or given up',
    remedy: 'drop the triggers, or make them fire after the row',
  },
]

function finding({ level, is, text, remedy }: Kind, rows: readonly TableRow[]): readonly Finding[] {
  const names = rows.filter(is).map(({ name }) => name)
  return names.length === 0
    ? []
    : [{ level, subject: 'postgres tables', text: `${names.join(', ')}: ${text}`, remedy }]
}

function readOnly(on: boolean): readonly Finding[] {
  if (!on) return []
  const text = 'default_transaction_read_only is on for this role: nothing can be written'
  return [
    {
      level: 'fault',
      subject: 'postgres tables',
      text,
      remedy: 'alter role ... set default_transaction_read_only = off',
    },
  ]
}

/** Positions above this are near enough to the end of a bigint to say so. */
const NEAR_THE_END = 2n ** 63n - 2n ** 53n

/** Positions are the order of messages. */
export function sequence(of: Numbered, state: SequenceState | undefined): readonly Finding[] {
  const subject = 'postgres positions'
  if (state === undefined) return []
  const { last, highest, cache, cycle } = state
  const found: Finding[] = []
  if (last < highest) {
    const text = `the sequence is behind the rows (${last} < ${highest}): messages would leave in the wrong order, and sending may fail`
    found.push({
      level: 'fault',
      subject,
      text,
      remedy: `stop what sends, then run: ${remedyOf(of)}`,
    })
  }
  if (cache > 1n || cycle) {
    const text = `the sequence has cache ${cache}${cycle ? ' and cycles' : ''}: the order of messages rests on one without`
    found.push({
      level: 'fault',
      subject,
      text,
      remedy: `alter table ${of.schema}.${of.table} alter column ${of.column} set cache 1 set no cycle`,
    })
  }
  if (last > NEAR_THE_END)
    found.push({
      level: 'warning',
      subject,
      text: `the sequence is near its end (${last})`,
      remedy: 'use a new schema',
    })
  return found.length > 0
    ? found
    : [{ level: 'ok', subject, text: 'the sequence is ahead of the rows' }]
}
