import { MersalError } from '../../core/errors/errors.ts'
import { checkShape } from '../../core/options.ts'
import { checkIdentifier } from '../identifiers.ts'
import type { MysqlPool } from './client.ts'
import { databaseOf, formatsValues } from './own-pool.ts'

const invalid = (field: string, text: string): MersalError =>
  new MersalError('MERSAL_INVALID_OPTIONS', `${field}: ${text}`, { details: { field } })

export function checkPool(field: string, pool: MysqlPool): void {
  checkShape(field, pool, ['getConnection', 'end'])
}

/** A pool on which statements of Mersal's own are run. */
export function checkOwnPool(field: string, pool: MysqlPool): void {
  checkPool(field, pool)
  if (!formatsValues(pool)) return
  const text = `its option 'queryFormat' would put the values into Mersal's own statements`
  throw invalid(field, `${text}: give a pool without it`)
}

/** The database of the tables. `where`: begins the names in errors. */
export function databaseFor(
  where: string,
  { schema, pool }: { readonly schema?: string; readonly pool: MysqlPool },
): string {
  if (schema !== undefined) return checkIdentifier(`${where}.schema`, schema)
  const found = databaseOf(pool)
  if (found !== undefined) return found
  const text = "the pool names no database: give one here, or the pool its option 'database'"
  throw invalid(`${where}.schema`, text)
}
