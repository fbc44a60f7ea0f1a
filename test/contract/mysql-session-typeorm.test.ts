import { DataSource, type EntityManager } from 'typeorm'
import { typeorm } from '../../src/sql/sessions/typeorm.ts'
import { mysqlSessionSuite } from '../mysql/session-suite.ts'

mysqlSessionSuite<EntityManager>('TypeORM 1', async ({ url }) => {
  const dataSource = await new DataSource({
    type: 'mysql',
    url,
    extra: { connectionLimit: 3 },
  }).initialize()
  return {
    session: typeorm<EntityManager>(dataSource),
    transaction: (work) => dataSource.transaction(work),
    insert: async (manager, text) =>
      void (await manager.query('insert into business values (?)', [text])),
    savepoint: (manager, work) => manager.transaction(work),
    fail: async (manager) => void (await manager.query('select * from nowhere')),
    end: async (manager, text) => void (await manager.query(text)),
    writesUntilCommit: true,
    roots: [dataSource.manager, dataSource],
    close: () => dataSource.destroy(),
  }
})
