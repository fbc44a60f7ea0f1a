import { setTimeout as sleep } from 'node:timers/promises'
import {
  DataSource,
  type EntityManager,
  type EntitySubscriberInterface,
  EventSubscriber,
} from 'typeorm'
import { expect, test } from 'vitest'
import { Mersal } from '../../../src/index.ts'
import { memoryTransport } from '../../../src/memory.ts'
import { postgres } from '../../../src/postgres.ts'
import { typeorm } from '../../../src/sql/sessions/typeorm.ts'
import { serverAnswers, serverUrl, testDatabase } from '../../postgres/database.ts'

/** Between the end of the work and ROLLBACK. */
class Slow implements EntitySubscriberInterface {
  async beforeTransactionRollback(): Promise<void> {
    await sleep(100)
  }
}

EventSubscriber()(Slow)

// 1. Both parts of a unit run, one fails, and the unit is given up.
// 2. TypeORM asks its subscribers before it sends ROLLBACK.
// 3. The other part comes to its end, and its commitTransaction sees a single transaction.
test.skipIf(!(await serverAnswers()))(
  'P1: a part of a unit that comes to its end while the unit is rolled back commits nothing',
  async () => {
    await using database = await testDatabase()
    const { pool, schema, query } = database
    const dataSource = await new DataSource({
      type: 'postgres',
      url: serverUrl,
      subscribers: [Slow],
    }).initialize()
    await using store = postgres<EntityManager>({ pool, schema, session: typeorm(dataSource) })
    await using app = new Mersal<EntityManager>({
      name: 'shop',
      store,
      transport: memoryTransport(),
      outbox: { runRelay: false },
      sendOnly: true,
      logger: false,
    })
    await app.start()
    const insert = `insert into ${schema}.business values ($1)`
    const unit = app.transaction(async (manager) => {
      await manager.query(insert, ['whole'])
      await Promise.all([
        manager.transaction(async (inner) => {
          await inner.query(insert, ['part'])
          await sleep(50)
        }),
        sleep(20).then(() => Promise.reject(new Error('the other part failed'))),
      ])
    })
    await expect(unit).rejects.toThrow('the other part failed')
    await sleep(100)
    expect(await query(`select text from ${schema}.business`)).toEqual([])
    await dataSource.destroy()
  },
)
