import { handleRevoked } from '../../units/transaction-words.ts'
import { guardSavepoints } from './kysely-savepoints.ts'
import { lendKysely } from './kysely.ts'
import { type Gate, type Lent, checked, gate, lendBoth, lendWithout, replaced } from './lent.ts'

type Method = (...given: unknown[]) => unknown

interface Manager {
  getTransactionContext(): unknown
}

/**
 * `execute` is refused by the manager itself, since the library would wrap an error of the
 * connection. Everything else that runs SQL ends at the connection, which MikroORM 7 has from
 * Kysely.
 */
export async function lendMikroOrm<Tx extends Manager>(tx: Tx): Promise<Lent<Tx>> {
  const passing = gate('mikro-orm')
  guard(tx, passing)
  const manager = lendBoth(lendWithout('mikro-orm', tx, ['begin', 'commit', 'rollback']), {
    tx,
    revoke: (allowed) => passing.revoke(allowed),
  })
  // After the work the library writes what has changed.
  const context = tx.getTransactionContext()
  let over = false
  guardSavepoints(context as object, () => {
    if (over) throw handleRevoked('mikro-orm')
  })
  const options = { afterwards: 'statements', released: () => void (over = true) } as const
  return lendBoth(manager, await lendKysely('mikro-orm', context, options))
}

/** Managers of transactions inside of this one are guarded as well. */
function guard(em: object, passing: Gate): void {
  const { execute, transactional } = em as Record<'execute' | 'transactional', Method>
  const own = {
    execute: (...given: unknown[]): unknown =>
      checked(passing, given[0], () => execute.apply(em, given)),
    transactional: (work: Method, ...rest: unknown[]): unknown =>
      transactional.call(
        em,
        (inner: object) => {
          guard(inner, passing)
          return work(inner)
        },
        ...rest,
      ),
  }
  replaced(em, own)
}
