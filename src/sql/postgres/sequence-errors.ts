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

/** The primary key of a row that was to be added exists. */
export function isTaken(
  error: unknown,
  { schema, table }: Pick<Numbered, 'schema' | 'table'>,
): boolean {
  if (sqlState(error) !== '23505') return false
  const { constraint, schema: where } = error as { constraint?: unknown; schema?: unknown }
  return constraint === `${table}_pkey` && (where === undefined || where === schema)
}

export function behind(of: Numbered, cause: unknown): MersalError {
  const text = `postgres: the sequence of ${of.table}.${of.column} in schema '${of.schema}' is behind its rows, so that messages would leave in the wrong order: run, as the owner of the table and while nothing is sent: ${remedyOf(of)}`
  return new MersalError('MERSAL_STORE_UNSAFE', text, {
    cause,
    details: { schema: of.schema, table: of.table, refused: true },
  })
}
