import { MersalError } from '../../core/errors/errors.ts'
import { textOf } from './bytes.ts'

/** An expression for a whole number of at least 0 that `wholeIn` reads. */
export const whole = (number: string): string => `concat('n', ${number})`

/**
 * A number that was asked for with `whole`. Every library hands out texts or bytes, but an
 * application may make something else of them: every insert and every unit reads such a number
 * before anything is committed, and this throws `MERSAL_STORE_FAILED` then.
 */
export function wholeIn(
  row: Readonly<Record<string, unknown>> | undefined,
  column: string,
): bigint {
  const [, digits] = /^n(\d+)$/.exec(textOf(row?.[column])) ?? []
  if (digits !== undefined) return BigInt(digits)
  throw new MersalError(
    'MERSAL_STORE_FAILED',
    "mysql: the rows of the library are no objects by column name with the values of the server: leave 'rowsAsArray', 'nestTables' and 'typeCast' of its pool as they are",
  )
}
