import { MersalError } from '../../core/errors/errors.ts'
import type { OnceKey } from '../../core/records/once.ts'

export const valuesOfOnce = ({ app, scope, key }: OnceKey): [string, string, string] => [
  app,
  scope,
  key,
]

/** The row that was inserted is not a row of this transaction. */
export function onceEnded(store: string): MersalError {
  const text = `${store}: the transaction in which the work of once() began has ended, so its response cannot be kept: leave COMMIT and ROLLBACK to Mersal`
  return new MersalError('MERSAL_TRANSACTION_ENDED', text)
}
