import type { Session } from '../session.ts'
import { lendMikroOrm } from './lent/mikro-orm.ts'
import {
  checkLibrary,
  hasMethod,
  notATransaction,
  rowsOf,
  splitPlaceholders,
  unitOfWork,
  withBuffers,
} from './handles.ts'

/** The part of MikroORM's `EntityManager` for SQL databases that is used. */
export interface MikroOrmManager {
  isInTransaction(): boolean
  getTransactionContext(): unknown
  getConnection(): object
}

interface Connection {
  execute(
    text: string,
    values: readonly unknown[],
    method: 'all',
    transaction: unknown,
  ): Promise<unknown>
}

/**
 * Transactions of MikroORM 7: `postgres({ pool, session: mikroOrm(orm.em) })`; each unit works in a
 * fork.
 */
export function mikroOrm<Tx extends MikroOrmManager>(em: {
  fork(): { transactional<Result>(work: (em: Tx) => Promise<Result>): Promise<Result> }
}): Session<Tx> {
  checkLibrary('mikroOrm()', em, ['fork'], 'orm.em')
  const executor: Session<Tx>['executor'] = (manager) => {
    if (!hasMethod(manager, 'isInTransaction') || !manager.isInTransaction()) {
      throw notATransaction(
        'mikro-orm',
        'give the `em` that em.transactional() passes to its callback',
      )
    }
    const connection = manager.getConnection() as Connection
    return {
      async query(text, values = []) {
        const split = splitPlaceholders(text, values)
        const parts = split.texts.map((part) => part.replaceAll('?', '\\?'))
        return {
          rows: rowsOf(
            await connection.execute(
              parts.join('?'),
              withBuffers(split.values),
              'all',
              manager.getTransactionContext(),
            ),
          ),
        }
      },
    }
  }
  return {
    name: 'mikro-orm',
    executor,
    unitOfWork: unitOfWork(
      'mikro-orm',
      executor,
      (work) => em.fork().transactional(work),
      lendMikroOrm,
    ),
  }
}
