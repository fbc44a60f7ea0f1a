import { MersalError } from '../core/errors/errors.ts'

const IDENTIFIER = /^[A-Za-z_][A-Za-z0-9_]{0,47}$/
/**
 * PostgreSQL keeps the first kind for itself; tables in the other one would be lost among those of
 * the system.
 */
const OF_THE_SYSTEM = /^(?:pg_.*|information_schema)$/

/**
 * The name of a schema or a table, if it is plain enough to be quoted anywhere: PostgreSQL cuts
 * names after 63 bytes without an error, so 48 leave room for a suffix. Throws
 * `MERSAL_INVALID_OPTIONS`.
 */
export function checkIdentifier(field: string, name: unknown): string {
  if (typeof name === 'string' && IDENTIFIER.test(name) && !OF_THE_SYSTEM.test(name)) return name
  throw new MersalError(
    'MERSAL_INVALID_OPTIONS',
    `${field}: must have 1 to 48 letters, digits or '_', and must not begin with a digit; the schema of another program or of the system is no place for it`,
    { details: { field } },
  )
}

/** In double quotes, as standard SQL has it; only for names that passed `checkIdentifier`. */
export function quoteIdentifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}
