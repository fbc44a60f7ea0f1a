import { readdirSync } from 'node:fs'
import { describe, expect, test, vi } from 'vitest'
import { Mersal, type Logger, command, event } from '../../../src/index.ts'
import { memoryTransport } from '../../../src/memory.ts'
import { sqlite, sqliteQueue } from '../../../src/sqlite.ts'
import { drain } from '../../../src/testing/index.ts'
import {
  libraries,
  type Library,
  openHandle,
  temporaryFolder,
  type TestDatabase,
} from '../../contract/sqlite-harness.ts'

const Place = command<{ id: number }>('orders.place')
const Placed = event<{ id: number }>('orders.placed')

/**
 * A store with a connection of its own, through the library that the application uses for the same
 * file.
 */
const storeOn = (library: Library, path: string) =>
  library === 'node:sqlite' ? sqlite({ path }) : sqlite({ open: () => openHandle(library, path) })

const rowsOf = (database: TestDatabase, table: string): unknown[] =>
  (database.prepare(`select text from ${table} order by text`).all() as { text: string }[]).map(
    ({ text }) => text,
  )

function openShop(library: Library, more: { logger?: Logger } = {}) {
  const folder = temporaryFolder()
  const path = folder.file('shop.db')
  const database = openHandle(library, path)
  database.exec('pragma busy_timeout = 0; create table orders (text); create table audit (text)')
  const store = storeOn(library, path) as ReturnType<typeof sqlite<TestDatabase>>
  const app = new Mersal({
    name: 'shop',
    store,
    transport: memoryTransport(),
    receive: { maxDeliveries: 1, immediateRetries: 0 },
    logger: false,
    ...more,
  })
  return {
    app,
    store,
    database,
    orders: () => rowsOf(database, 'orders'),
    audit: () => rowsOf(database, 'audit'),
    async [Symbol.asyncDispose]() {
      await app.stop()
      database.close()
      folder[Symbol.dispose]()
    },
  }
}

/**
 * A second writer in this process: another request that writes by itself, in no transaction of
 * ours.
 */
function writeAside(database: TestDatabase): 'written' | 'refused' {
  try {
    database.prepare("insert into audit values ('seen')").run()
    return 'written'
  } catch (error) {
    expect((error as Error).message).toMatch(/database is locked/)
    return 'refused'
  }
}

describe.each(libraries)(
  'beside a store with a connection of its own, the application uses %s',
  (library) => {
    test('a write beside an open transaction is refused, or it lasts: it never dies with the rollback', async () => {
      await using shop = openShop(library)
      const answers: string[] = []
      const unit = shop.app.transaction(async (tx) => {
        tx.exec("insert into orders values ('ours')")
        answers.push(writeAside(shop.database))
        throw new Error('rolled back')
      })
      await expect(unit).rejects.toThrow('rolled back')
      answers.push(writeAside(shop.database))
      expect(answers).toEqual(['refused', 'written'])
      expect(shop.orders()).toEqual([])
      expect(shop.audit()).toEqual(['seen'])
    })

    test('nobody reads what a transaction has not committed', async () => {
      await using shop = openShop(library)
      await shop.app.transaction(async (tx) => {
        tx.exec("insert into orders values ('ours')")
        expect(shop.orders()).toEqual([])
      })
      expect(shop.orders()).toEqual(['ours'])
    })

    test('a handler that fails takes nothing of others with it', async () => {
      await using shop = openShop(library)
      const inside = Promise.withResolvers<void>()
      const goOn = Promise.withResolvers<void>()
      shop.app.handle(Place, async (_, { tx }) => {
        tx.exec("insert into orders values ('ours')")
        inside.resolve()
        await goOn.promise
        throw new Error('fails')
      })
      await shop.app.start()
      await shop.app.direct.sendLocal(Place, { id: 1 })
      await inside.promise
      expect(shop.orders()).toEqual([])
      const answer = writeAside(shop.database)
      goOn.resolve()
      await drain(shop.app)
      expect(shop.audit()).toEqual(answer === 'written' ? ['seen'] : [])
      expect(shop.orders()).toEqual([])
    })

    test('a transaction of the application on its own connection carries messages', async () => {
      await using shop = openShop(library)
      const heard: number[] = []
      shop.app.handle(Placed, ({ id }) => void heard.push(id))
      await shop.app.start()
      for (const [id, end] of [
        [1, 'rollback'],
        [2, 'commit'],
      ] as const) {
        shop.database.exec('begin immediate')
        await shop.app.within(shop.database).publish(Placed, { id })
        shop.database.exec(end)
      }
      await vi.waitFor(() => expect(heard).toEqual([2]), { timeout: 10_000 })
    })

    test('writes of the application and of the relay at the same time lose nothing and are not locked out in one turn', async () => {
      await using shop = openShop(library)
      let heard = 0
      shop.app.handle(Placed, () => void heard++)
      await shop.app.start()
      let refused = 0
      let written = 0
      for (let id = 1; id <= 200; id++) {
        await shop.app.transaction(async (tx, { publish }) => {
          tx.prepare('insert into orders values (?)').run(String(id))
          await publish(Placed, { id })
        })
        if (writeAside(shop.database) === 'written') written++
        else refused++
      }
      await vi.waitFor(() => expect(heard).toBe(200), { timeout: 20_000 })
      expect(shop.audit()).toHaveLength(written)
      expect(shop.orders()).toHaveLength(200)
      expect(refused + written).toBe(200)
    })
  },
)

test('better-sqlite3: its own transaction() on its own connection is refused or whole while a unit is open', async () => {
  await using shop = openShop('better-sqlite3')
  type Better = { transaction(work: () => void): () => void }
  const work = (shop.database as unknown as Better).transaction(
    () => void shop.database.exec("insert into audit values ('whole')"),
  )
  const unit = shop.app.transaction(async (tx) => {
    tx.exec("insert into orders values ('ours')")
    expect(() => work()).toThrow(/database is locked/)
    throw new Error('rolled back')
  })
  await expect(unit).rejects.toThrow('rolled back')
  work()
  expect(shop.audit()).toEqual(['whole'])
})

describe('a handle that is shared with the store', () => {
  const logged = () => {
    const warnings: string[] = []
    const ignore = (): void => {}
    return {
      warnings,
      logger: {
        debug: ignore,
        info: ignore,
        error: ignore,
        warn: (_: object, text: string) => void warnings.push(text),
      },
    }
  }

  test.each(libraries)(
    'of %s still works, and the app warns once at its start',
    async (library) => {
      using folder = temporaryFolder()
      const database = openHandle(library, folder.file('shop.db'))
      const { warnings, logger } = logged()
      const app = new Mersal({
        name: 'shop',
        store: sqlite({ database }),
        transport: memoryTransport(),
        logger,
      })
      await app.start()
      database.exec('create table orders (text)')
      await app.transaction(async (tx) => {
        tx.exec("insert into orders values ('lent')")
        expect(rowsOf(database, 'orders')).toEqual(['lent'])
      })
      await app.stop()
      expect(rowsOf(database, 'orders')).toEqual(['lent'])
      database.close()
      expect(
        warnings.filter((text) => text.includes('the database handle is shared')),
      ).toHaveLength(1)
    },
  )

  test.each(libraries)('%s: one of its own is not warned about', async (library) => {
    const { warnings, logger } = logged()
    await using shop = openShop(library, { logger })
    await shop.app.start()
    expect(warnings).toEqual([])
  })
})

describe('the option open', () => {
  test('is called again for a connection that was cut off, and its connections are closed with the store', async () => {
    using folder = temporaryFolder()
    const opened: TestDatabase[] = []
    const open = (): TestDatabase => {
      const database = openHandle('better-sqlite3', folder.file('shop.db'))
      opened.push(database)
      return database
    }
    const store = sqlite({ open })
    await store.unitOfWork(async (tx) =>
      tx.exec('create table orders (text); insert into orders values (1), (2)'),
    )
    const controller = new AbortController()
    const ended = Promise.withResolvers<void>()
    const unit = store.unitOfWork(
      async (tx) => {
        tx.exec("insert into orders values ('late')")
        controller.abort(new Error('too slow'))
        await ended.promise
      },
      { signal: controller.signal, ended: ended.promise },
    )
    await expect(unit).rejects.toThrow('too slow')
    ended.resolve()
    expect(await store.unitOfWork(async (tx) => rowsOf(tx, 'orders'))).toEqual([1, 2])
    await store[Symbol.asyncDispose]()
    expect(opened.map(({ open: isOpen }) => isOpen)).toEqual([false, false])
  })

  test('a unit that is given up in the midst of an iteration is rolled back when its function has ended', async () => {
    using folder = temporaryFolder()
    await using store = sqlite({
      open: () => openHandle('better-sqlite3', folder.file('shop.db')),
      busyTimeoutMs: 10_000,
    })
    await store.unitOfWork(async (tx) =>
      tx.exec('create table orders (text); insert into orders values (1), (2)'),
    )
    const controller = new AbortController()
    const [goOn, ended] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    const unit = store.unitOfWork(
      async (tx) => {
        const statement = tx.prepare('select text from orders') as unknown as {
          iterate(): Iterable<unknown>
        }
        try {
          for (const _row of statement.iterate()) {
            controller.abort(new Error('too slow'))
            await goOn.promise
          }
        } finally {
          ended.resolve()
        }
      },
      { signal: controller.signal, ended: ended.promise },
    )
    await expect(unit).rejects.toThrow('too slow')
    goOn.resolve()
    expect(await store.unitOfWork(async (tx) => rowsOf(tx, 'orders'))).toEqual([1, 2])
  })

  test.each(libraries)(
    '%s: an iteration that the work leaves open holds up neither the commit nor the rollback',
    async (library) => {
      using folder = temporaryFolder()
      await using store = sqlite({
        open: () => openHandle(library, folder.file('shop.db')),
        busyTimeoutMs: 1000,
      })
      await store.unitOfWork(async (tx) =>
        tx.exec('create table orders (text); insert into orders values (1), (2)'),
      )
      const begin = (tx: TestDatabase): unknown =>
        (tx.prepare('select text from orders') as unknown as { iterate(): Iterator<unknown> })
          .iterate()
          .next()
      await store.unitOfWork(async (tx) => {
        tx.exec('insert into orders values (3)')
        begin(tx)
      })
      const controller = new AbortController()
      const givenUp = store.unitOfWork(
        async (tx) => {
          tx.exec('insert into orders values (4)')
          begin(tx)
          controller.abort(new Error('too slow'))
          await new Promise(() => {})
        },
        { signal: controller.signal, ended: new Promise(() => {}) },
      )
      await expect(givenUp).rejects.toThrow('too slow')
      // The work never ends, and yet the lock is free.
      expect(await store.unitOfWork(async (tx) => rowsOf(tx, 'orders'))).toEqual([1, 2, 3])
    },
  )

  test.each([
    ['what is no database', () => ({})],
    [
      'a handle that it has given before',
      (() => {
        let database: TestDatabase | undefined
        return () => (database ??= openHandle('node:sqlite', ':memory:'))
      })(),
    ],
  ])('that returns %s is refused', async (_, open) => {
    await using first = sqlite({ open: open as () => TestDatabase })
    const opening = first.open().then(() => sqlite({ open: open as () => TestDatabase }).open())
    await expect(opening).rejects.toMatchObject({ code: 'MERSAL_INVALID_OPTIONS' })
  })

  test('serves store and queue on one file, each with a connection of its own', async () => {
    using folder = temporaryFolder()
    const open = (): TestDatabase => openHandle('better-sqlite3', folder.file('shop.db'))
    const app = new Mersal({
      name: 'shop',
      store: sqlite({ open }),
      transport: sqliteQueue({ open }),
      logger: false,
    })
    const handled: number[] = []
    app.handle(Placed, ({ id }) => void handled.push(id))
    await app.start()
    await app.transaction((_, { publish }) => publish(Placed, { id: 1 }))
    await drain(app)
    await app.stop()
    expect(handled).toEqual([1])
    expect(readdirSync(folder.path)).toEqual(['shop.db'])
  })
})
