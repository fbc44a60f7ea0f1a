import type { Session } from '../session.ts'
import { type Lent, lendWithout } from './lent.ts'
import { notATransaction, unitOfWork, withBuffers } from './handles.ts'

/** What `sequelize.transaction` of Sequelize 6 hands to its callback. */
export interface SequelizeTransaction {
  commit(): Promise<void>
  rollback(): Promise<void>
}

/** Transactions of Sequelize 6: `postgres({ pool, session: sequelize(instance) })`. */
export function sequelize<Tx extends SequelizeTransaction>(instance: {
  /** The form without a callback says what the other one hands out. */
  transaction(): Promise<Tx>
  query(text: string, options: never): Promise<unknown>
}): Session<Tx> {
  const open = instance.transaction.bind(instance) as unknown as <Result>(
    work: (transaction: Tx) => Promise<Result>,
  ) => Promise<Result>
  const executor: Session<Tx>['executor'] = (transaction) => {
    // `finished` is not in the library's types; it is 'commit' or 'rollback' afterwards.
    const state = transaction as
      | { sequelize?: unknown; finished?: unknown; id?: unknown }
      | null
      | undefined
    if (state?.sequelize !== instance || state.id === undefined || state.finished !== undefined) {
      throw notATransaction(
        'sequelize',
        'give the transaction that this instance passes to the callback of transaction(), while it is open',
      )
    }
    return {
      async query(text, values = []) {
        const options = {
          bind: withBuffers(values),
          transaction,
          type: 'SELECT',
          raw: true,
          nest: false,
          plain: false,
          logging: false,
        }
        return { rows: (await instance.query(text, options as never)) as Record<string, unknown>[] }
      },
    }
  }
  const lend = (tx: Tx): Lent<Tx> => lendWithout('sequelize', tx, tx, ['commit', 'rollback'])
  return { name: 'sequelize', executor, unitOfWork: unitOfWork('sequelize', executor, open, lend) }
}
