import type { Session } from '../session.ts'
import { lendTypeorm } from './lent/typeorm.ts'
import { checkLibrary, notATransaction, rowsOf, units, withBuffers } from './handles.ts'

/**
 * The part of TypeORM's `EntityManager` that is used. Only the manager of a transaction has an
 * active query runner.
 */
export interface TypeormManager {
  query(text: string, values?: unknown[]): Promise<unknown>
  readonly queryRunner?: { readonly isTransactionActive: boolean } | undefined
}

/** Transactions of TypeORM 0.3 and 1: `postgres({ pool, session: typeorm(dataSource) })`. */
export function typeorm<Tx extends TypeormManager>(dataSource: {
  /** Of the type of those that transactions hand out. */
  readonly manager: Tx
  transaction(work: (manager: Tx) => Promise<unknown>): Promise<unknown>
}): Session<Tx> {
  checkLibrary('typeorm()', dataSource, ['transaction'], 'the DataSource')
  const open = dataSource.transaction.bind(dataSource) as <Result>(
    work: (manager: Tx) => Promise<Result>,
  ) => Promise<Result>
  const executor: Session<Tx>['executor'] = (manager) => {
    if (manager?.queryRunner?.isTransactionActive !== true) {
      throw notATransaction(
        'typeorm',
        'give the manager of dataSource.transaction(), or of a query runner after startTransaction()',
      )
    }
    return {
      query: async (text, values = []) => ({
        rows: rowsOf(await manager.query(text, withBuffers(values))),
      }),
    }
  }
  return { name: 'typeorm', executor, ...units('typeorm', executor, open, lendTypeorm) }
}
