import type { Session } from '../session.ts'
import { type Gate, type Lent, checked, gate, lendBoth, lendWithout } from './lent/lent.ts'
import { checkLibrary, notATransaction, unitOfWork, withBuffers } from './handles.ts'

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
  checkLibrary('sequelize()', instance, ['transaction', 'query'], 'the instance of Sequelize')
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
  const lend = (tx: Tx): Lent<Tx> => {
    watchQueries(instance)
    const passing = gate('sequelize')
    gates.set(tx, passing)
    return lendBoth(lendWithout('sequelize', tx, ['commit', 'rollback']), {
      tx,
      // It is never retired: a savepoint may go on when its transaction is over.
      revoke: (allowed) => passing.revoke(allowed),
    })
  }
  return { name: 'sequelize', executor, unitOfWork: unitOfWork('sequelize', executor, open, lend) }
}

const watched = new WeakSet<object>()
const gates = new WeakMap<object, Gate>()

interface Query {
  run(text: unknown, ...given: unknown[]): unknown
}
type BeforeQuery = (options: { readonly transaction?: unknown }, query: Query) => void

/** Once for each instance: every statement of it passes this hook, those of models as well. */
function watchQueries(instance: object): void {
  if (watched.has(instance)) return
  watched.add(instance)
  const hooks = instance as { addHook(kind: string, hook: BeforeQuery): unknown }
  hooks.addHook('beforeQuery', ({ transaction }, query) => {
    const passing = gateOf(transaction)
    if (passing === undefined) return
    const run = query.run.bind(query)
    query.run = (...given) => checked(passing, given[0], () => run(...given))
  })
}

/** A savepoint is a transaction of its own, with a parent. */
function gateOf(transaction: unknown): Gate | undefined {
  if (typeof transaction !== 'object' || transaction === null) return undefined
  return gates.get(transaction) ?? gateOf((transaction as { readonly parent?: unknown }).parent)
}
