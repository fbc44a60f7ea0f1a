import { MersalError } from '../../core/errors/errors.ts'
import { quoteIdentifier } from '../identifiers.ts'
import { sqlState } from './sql-state.ts'

/** A column whose numbers come from a sequence of its own. */
export interface Numbered {
  readonly schema: string
  readonly table: string
  readonly column: string
}

export const place = ({ schema, table }: Numbered): string => `${quoteIdentifier(schema)}.${table}`

/** What sets the sequence to the highest row. To be run while nobody draws numbers. */
export function remedyOf(of: Numbered): string {
  return `select setval(pg_get_serial_sequence('${place(of)}', '${of.column}'), (select max(${of.column}) from ${place(of)}))`
}

/** Columns of ours whose order counts, by the primary keys that they are in. */
const numberedBy: Readonly<Record<string, Omit<Numbered, 'schema'>>> = {
  outbox_pkey: { table: 'outbox', column: 'position' },
  queue_message_pkey: { table: 'queue_message', column: 'position' },
  queue_dead_pkey: { table: 'queue_dead', column: 'number' },
}

/** If the number of a row that was to be added is taken, what is to be done about it. */
export function numberTaken(schema: string, error: unknown): MersalError | undefined {
  if (sqlState(error) !== '23505') return undefined
  const { constraint, schema: where } = error as { constraint?: unknown; schema?: unknown }
  if (typeof constraint !== 'string' || (where !== undefined && where !== schema)) return undefined
  const of = Object.hasOwn(numberedBy, constraint) ? numberedBy[constraint] : undefined
  return of === undefined ? undefined : behind({ schema, ...of }, error)
}

export function behind(of: Numbered, cause: unknown): MersalError {
  const text = `postgres: the sequence of ${of.table}.${of.column} in schema '${of.schema}' is behind its rows, so that messages would leave in the wrong order: run, as the owner of the table and while nothing is sent: ${remedyOf(of)}`
  return new MersalError('MERSAL_STORE_UNSAFE', text, {
    cause,
    details: { schema: of.schema, table: of.table, refused: true },
  })
}
