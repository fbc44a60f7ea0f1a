import { type Dialect, postgresDialect } from '../../units/statement-scan.ts'
import { endingOf, handleRevoked, savepointOpen } from '../../units/transaction-words.ts'
import { type Lent, lendBoth, lendChecked, replaced } from './lent.ts'

type Method = (...given: unknown[]) => Promise<unknown>

interface Runner {
  startTransaction: Method
  commitTransaction: Method
  rollbackTransaction: Method
  /** How many transactions are open, one inside of the other. Not in the library's types. */
  transactionDepth?: number
}

/** Transactions inside of that of the unit have the same query runner. */
export function lendTypeorm<Tx extends { readonly queryRunner?: unknown }>(
  manager: Tx,
  dialect: Dialect = postgresDialect,
): Lent<Tx> {
  const runner = (manager.queryRunner ?? {}) as Runner
  const statements = lendChecked(
    'typeorm',
    manager,
    { target: runner, names: ['query', 'stream'] },
    // Subscribers may run some before the commit.
    { dialect, afterwards: 'statements' },
  )
  return lendBoth(statements, lendDepth(runner, dialect))
}

/**
 * While a transaction inside is open, the query runner ends no more than that one: the connection
 * would go back to the pool with that of the unit. So a unit is not committed then, and its rollback
 * is that of all of them.
 */
function lendDepth(runner: Runner, dialect: Dialect): Lent<Runner> {
  const { startTransaction, commitTransaction, rollbackTransaction } = runner
  let [inside, over] = [0, false]
  const ending = (end: Method): Method =>
    async function (...given) {
      const made = await end.apply(runner, given)
      inside -= 1
      return made
    }
  replaced(runner, {
    async startTransaction(...given: unknown[]) {
      if (over) throw handleRevoked('typeorm')
      inside += 1
      try {
        return await startTransaction.apply(runner, given)
      } catch (error) {
        inside -= 1
        throw error
      }
    },
    commitTransaction: ending(commitTransaction),
    rollbackTransaction: ending(rollbackTransaction),
  })
  return {
    tx: runner,
    revoke(passing) {
      over = true
      const ends = passing.map((text) => endingOf(text, dialect))
      if (ends.includes('rollback'))
        Object.defineProperty(runner, 'transactionDepth', { get: () => 1, set: () => {} })
      else if (inside > 0 && !ends.includes('commit')) throw savepointOpen('typeorm')
    },
  }
}
