import type { Session } from '../session.ts'
import type { Dialect } from '../units/statement-scan.ts'
import { type Lent, lendBoth, lendChecked, lendWithout } from './lent/lent.ts'
import {
  checkLibrary,
  isFunction,
  notATransaction,
  rowsOf,
  splitPlaceholders,
  units,
  withBuffers,
} from './handles.ts'

/** The part of Knex's `Transaction` that is used. */
export interface KnexTransaction {
  raw(text: string, values: never): PromiseLike<unknown>
  readonly isTransaction?: boolean
  isCompleted(): boolean
}

/** In a transaction it always answers with the connection of that. */
interface Inside {
  readonly client: { acquireConnection(): Promise<object> }
}

/** Transactions of Knex 3: `postgres({ pool, session: knex(db) })`. */
export function knex<Tx extends KnexTransaction>(db: {
  transaction<Result>(work: (trx: Tx) => Promise<Result>): Promise<Result>
}): Session<Tx> {
  checkLibrary('knex()', db, ['transaction'], 'what knex(config) returned')
  const executor: Session<Tx>['executor'] = (trx) => {
    if (!isFunction(trx) || trx.isTransaction !== true || trx.isCompleted()) {
      throw notATransaction('knex', 'give the `trx` of knex.transaction() while it is open')
    }
    return {
      async query(text, values = []) {
        const split = splitPlaceholders(text, values)
        const parts = split.texts.map((part) => part.replaceAll('?', '\\?'))
        return { rows: rowsOf(await trx.raw(parts.join('?'), withBuffers(split.values) as never)) }
      },
    }
  }
  const lend = async (trx: Tx, dialect?: Dialect): Promise<Lent<Tx>> => {
    // Transactions inside of this one have clients of their own, and the same connection.
    const connection = await (trx as unknown as Inside).client.acquireConnection()
    return lendBoth(
      lendWithout('knex', trx, ['commit', 'rollback']),
      lendChecked(
        'knex',
        trx,
        { target: connection, names: ['query'] },
        { refusal: 'throws', dialect },
      ),
    )
  }
  return {
    name: 'knex',
    executor,
    cutsAtNumbers: true,
    ...units('knex', executor, (work) => db.transaction(work), lend),
  }
}
