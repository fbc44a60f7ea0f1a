import { DatabaseSync } from 'node:sqlite'
import { describe, expect, test } from 'vitest'
import { sqlite, sqliteQueue } from '../../../../src/sqlite.ts'
import { libraries, openHandle, temporaryFolder } from '../../../contract/sqlite-harness.ts'

const message = {
  id: 'm',
  type: 't',
  headers: {},
  body: new Uint8Array([1]),
  to: { transport: 'default', kind: 'queue', name: 'q' } as const,
}
const never = new Promise<never>(() => {})

describe('options of the SQLite store and queue', () => {
  test.each([
    [
      { path: 'x.db', keepSendMs: 1 },
      /keepSendMs: there is no such option; did you mean 'keepSentMs'/,
    ],
    [{ path: 'x.db', synchronous: 'off' }, /sqlite\.synchronous: expected one of 'full', 'normal'/],
    [{ path: '' }, /sqlite\.path/],
    [{}, /sqlite\.path/],
    [{ path: 'x.db', database: new DatabaseSync(':memory:') }, /not both/],
    [{ database: {} }, /sqlite\.database: expected a DatabaseSync/],
    [{ path: 'x.db', busyTimeoutMs: -1 }, /sqlite\.busyTimeoutMs/],
    [{ path: 'x.db', keepSentMs: 1.5 }, /sqlite\.keepSentMs/],
    [undefined, /expected an object/],
  ])('%o is refused with the name of the field', (options, text) => {
    expect(() => sqlite(options as never)).toThrow(
      expect.objectContaining({
        code: 'MERSAL_INVALID_OPTIONS',
        message: expect.stringMatching(text) as string,
      }),
    )
  })

  test('the queue suggests the option that was meant', () => {
    expect(() => sqliteQueue({ path: 'x.db', visibiltyMs: 1 } as never)).toThrow(
      /did you mean 'visibilityMs'/,
    )
  })
})

describe('unit of work on SQLite', () => {
  test('P13: a transaction that was rolled back inside the unit, by the handle behind it, makes the unit fail', async () => {
    const database = openHandle('node:sqlite', ':memory:')
    await using store = sqlite({ database })
    const unit = store.unitOfWork(async () => database.exec('ROLLBACK'))
    await expect(unit).rejects.toMatchObject({ code: 'MERSAL_TRANSACTION_ENDED' })
    const another = store.unitOfWork(async () => database.exec('ROLLBACK; BEGIN'))
    await expect(another).rejects.toMatchObject({ code: 'MERSAL_TRANSACTION_ENDED' })
    database.close()
  })

  test('P13: a transaction that SQLite itself rolled back makes the unit fail, also if the error was swallowed', async () => {
    await using store = sqlite({ path: ':memory:' })
    await store.unitOfWork(async (tx) =>
      tx.exec('CREATE TABLE t (a UNIQUE); INSERT INTO t VALUES (1)'),
    )
    const unit = store.unitOfWork(async (tx) => {
      expect(() => tx.exec('INSERT OR ROLLBACK INTO t VALUES (1)')).toThrow(/UNIQUE/)
    })
    await expect(unit).rejects.toMatchObject({ code: 'MERSAL_ROLLED_BACK' })
  })

  test('a unit that is given up rolls back at once, and what its function does later reaches no other transaction', async () => {
    using folder = temporaryFolder()
    await using store = sqlite({ path: folder.file('app.db') })
    await store.unitOfWork(async (tx) => tx.exec('CREATE TABLE t (a)'))
    const controller = new AbortController()
    const reason = new Error('too slow')
    let old: DatabaseSync | undefined
    const unit = store.unitOfWork(
      async (tx) => {
        old = tx
        tx.exec('INSERT INTO t VALUES (1)')
        controller.abort(reason)
        return never
      },
      { signal: controller.signal },
    )
    await expect(unit).rejects.toBe(reason)
    const rows = await store.unitOfWork(async (tx) => {
      expect(() => old?.exec('INSERT INTO t VALUES (2)')).toThrow(
        /unit of this transaction has ended/,
      )
      await expect(store.outbox.save(old as DatabaseSync, [message])).rejects.toMatchObject({
        code: 'MERSAL_NOT_A_TRANSACTION',
      })
      return tx.prepare('SELECT a FROM t').all()
    })
    expect(rows).toEqual([])
  })

  test.each(libraries)(
    'a unit that is given up on a handle of %s rolls back when its function has ended',
    async (library) => {
      const database = openHandle(library, ':memory:')
      await using store = sqlite({ database })
      await store.unitOfWork(async (tx) => tx.exec('CREATE TABLE t (a)'))
      const controller = new AbortController()
      const unit = store.unitOfWork(
        async (tx) => {
          controller.abort(new Error('too slow'))
          await Promise.resolve()
          tx.exec('INSERT INTO t VALUES (1)')
        },
        { signal: controller.signal },
      )
      await expect(unit).rejects.toThrow('too slow')
      expect(database.prepare('SELECT a FROM t').all()).toEqual([])
      database.close()
    },
  )

  test('a unit that waits for its turn leaves the queue when it is given up', async () => {
    await using store = sqlite({ path: ':memory:' })
    await store.open()
    const { promise: gate, resolve: open } = Promise.withResolvers<void>()
    const first = store.unitOfWork(() => gate)
    const controller = new AbortController()
    let ran = false
    const second = store.unitOfWork(
      async () => {
        ran = true
      },
      { signal: controller.signal },
    )
    const third = store.unitOfWork(async () => 'third')
    setImmediate(() => controller.abort(new Error('given up')))
    await expect(second).rejects.toThrow('given up')
    open()
    await first
    expect(await third).toBe('third')
    expect(ran).toBe(false)
  })

  test('units do not interleave, and a later one waits for the one before across its awaits', async () => {
    using folder = temporaryFolder()
    const path = folder.file('app.db')
    await using store = sqlite({ path, busyTimeoutMs: 0 })
    await using other = sqlite({ path, busyTimeoutMs: 0 })
    await store.open()
    const log: string[] = []
    const unit = (of: typeof store, name: string) =>
      of.unitOfWork(async () => {
        log.push(`${name} begins`)
        for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve))
        log.push(`${name} ends`)
      })
    await Promise.all([unit(store, 'a'), unit(other, 'b'), unit(store, 'c')])
    const order = log.map((line) => line[0]).join('')
    expect(order).toMatch(/^(aa|bb|cc){3}$/)
  })

  test('what would wait for its own unit fails after the busy timeout with an explanation, and the unit goes on', async () => {
    using folder = temporaryFolder()
    const path = folder.file('app.db')
    await using store = sqlite({ path, busyTimeoutMs: 20 })
    await using queue = sqliteQueue({ path, busyTimeoutMs: 20 })
    await queue.subscribe('q', [])
    await store.unitOfWork(async (tx) => {
      expect(await Promise.all(queue.publish([message]))).toMatchObject([
        { kind: 'unavailable', error: { code: 'MERSAL_STORE_BUSY' } },
      ])
      await expect(store.unitOfWork(async () => {})).rejects.toMatchObject({
        code: 'MERSAL_STORE_BUSY',
      })
      await store.outbox.save(tx, [message])
    })
    expect(await store.admin.stats()).toMatchObject({ pending: 1 })
    expect(await Promise.all(queue.publish([message]))).toEqual([{ kind: 'confirmed' }])
    let attempts = 0
    const { promise, resolve } = Promise.withResolvers<void>()
    const consumption = await queue.consume({ queue: 'q', concurrency: 10 }, async () => {
      attempts++
      resolve()
      return { kind: 'ack' }
    })
    await promise
    await consumption[Symbol.asyncDispose]()
    expect(attempts).toBe(1)
  })

  test('a synchronous level that may lose a commit grants no express lane, but makes claims durable', async () => {
    using folder = temporaryFolder()
    const database = new DatabaseSync(folder.file('app.db'))
    await using store = sqlite({ database, synchronous: 'normal' })
    const level = () => database.prepare('PRAGMA synchronous').get()
    const [saved] = await store.unitOfWork((tx) => {
      expect(level()).toEqual({ synchronous: 1 })
      return store.outbox.save(tx, [message], { express: { token: 'x', graceMs: 1000 } })
    })
    expect(saved?.kind).toBe('row')
    expect(await store.outbox.claim({ limit: 1, claimMs: 1000, token: 't' })).toHaveLength(1)
    expect(level()).toEqual({ synchronous: 2 })
  })
})

describe("transactions of the caller's own", () => {
  test.each(libraries)(
    'save joins a transaction that the caller began on a handle of %s',
    async (library) => {
      using folder = temporaryFolder()
      const path = folder.file('app.db')
      const database = openHandle(library, path)
      await using store = sqlite({ database })
      await store.open()
      database.exec('BEGIN')
      await store.outbox.save(database, [message])
      database.exec('ROLLBACK')
      expect(await store.admin.stats()).toMatchObject({ pending: 0 })
      const own = openHandle(library, path)
      own.exec('BEGIN IMMEDIATE')
      await store.outbox.save(own, [message])
      own.exec('COMMIT')
      expect(await store.admin.stats()).toMatchObject({ pending: 1 })
      own.close()
      database.close()
    },
  )

  test('while the caller has a transaction open on the handle of the store, other work waits for its end', async () => {
    const database = new DatabaseSync(':memory:')
    await using store = sqlite({ database })
    await store.open()
    database.exec('BEGIN; CREATE TABLE t (a)')
    let ended = false
    const unit = store.unitOfWork(async () => expect(ended).toBe(true))
    setImmediate(() => {
      ended = true
      database.exec('COMMIT')
    })
    await unit
    database.close()
  })

  test('a handle of another file is refused', async () => {
    using folder = temporaryFolder()
    await using store = sqlite({ path: folder.file('app.db') })
    await using other = sqlite({ path: folder.file('other.db') })
    const unit = other.unitOfWork((tx) => store.outbox.save(tx, [message]))
    await expect(unit).rejects.toMatchObject({ code: 'MERSAL_NOT_A_TRANSACTION' })
  })

  test('a relay hears of a transaction that the caller committed himself', async () => {
    const database = new DatabaseSync(':memory:')
    await using store = sqlite({ database })
    await store.open()
    const { promise, resolve } = Promise.withResolvers<void>()
    const stop = new AbortController()
    const watching = Promise.all(
      store.wakers.map((waker) => waker(resolve, { signal: stop.signal })),
    )
    database.exec('BEGIN')
    await store.outbox.save(database, [message])
    database.exec('COMMIT')
    await promise
    stop.abort()
    await watching
    database.close()
  })

  test('the handle of the caller keeps its own waiting time', async () => {
    using folder = temporaryFolder()
    const database = new DatabaseSync(folder.file('app.db'), { timeout: 1234 })
    await using store = sqlite({ database })
    await store.unitOfWork(async (tx) =>
      expect(tx.prepare('PRAGMA busy_timeout').get()).toEqual({ timeout: 1234 }),
    )
    database.close()
  })
})
