import { DataSource, type EntityManager } from 'typeorm'
import { typeorm } from '../../src/sql/sessions/typeorm.ts'
import { sessionSuite } from '../postgres/session-suite.ts'

sessionSuite<EntityManager>('TypeORM 1', async ({ schema }, url) => {
  const dataSource = await new DataSource({ type: 'postgres', url, extra: { max: 3 } }).initialize()
  return {
    session: typeorm<EntityManager>(dataSource),
    transaction: (work) => dataSource.transaction(work),
    insert: async (manager, text) =>
      void (await manager.query(`insert into ${schema}.business values ($1)`, [text])),
    savepoint: (manager, work) => manager.transaction(work),
    fail: async (manager) => void (await manager.query('select 1 / 0')),
    end: async (manager, text) => void (await manager.query(text)),
    endingCalls: [
      ({ queryRunner }) => queryRunner?.commitTransaction(),
      ({ queryRunner }) => queryRunner?.rollbackTransaction(),
    ],
    harmless: async (manager) => void (await manager.query('select $1::text', ['x; commit'])),
    writesUntilCommit: true,
    roots: [dataSource.manager, dataSource],
    close: () => dataSource.destroy(),
  }
})
