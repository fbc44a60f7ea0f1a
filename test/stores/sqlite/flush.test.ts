import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { event, Mersal } from '../../../src/index.ts'
import type { OutgoingMessage } from '../../../src/core/messages/message.ts'
import { silentLogger } from '../../../src/core/telemetry.ts'
import { memoryNetwork } from '../../../src/memory.ts'
import { sqlite, type SqliteDatabase, sqliteQueue } from '../../../src/sqlite.ts'
import { libraries, openHandle, temporaryFolder } from '../../contract/sqlite-harness.ts'
import { watchDisk } from './disk.ts'

const message: OutgoingMessage = {
  id: 'm',
  type: 't',
  headers: {},
  body: new Uint8Array([1]),
  to: { transport: 'default', kind: 'queue', name: 'q' },
}

/** Tells whether a promise has been settled. */
function watched<Result>(promise: Promise<Result>) {
  const state = { settled: false, promise }
  const settled = (): void => void (state.settled = true)
  promise.then(settled, settled)
  return state
}

/** Long enough for whatever does not wait for the disk. */
const aMoment = (): Promise<void> => sleep(30)

const insert = (number: number) => async (tx: SqliteDatabase) =>
  void tx.exec(`INSERT INTO t VALUES (${number})`)
const count = async (tx: SqliteDatabase): Promise<number> =>
  (tx as ReturnType<typeof openHandle>).prepare('SELECT * FROM t').all().length

function rowsSeenByOthers(path: string): number {
  const other = openHandle('node:sqlite', path)
  try {
    return other.prepare('SELECT number FROM t').all().length
  } finally {
    other.close()
  }
}

async function openStore(path: string, options = {}) {
  const warnings: string[] = []
  const logger = { ...silentLogger, warn: (_: object, text: string) => void warnings.push(text) }
  const store = sqlite({ path, logger, ...options })
  await store.unitOfWork(async (tx) => tx.exec('CREATE TABLE IF NOT EXISTS t (number)'))
  return Object.assign(store, { warnings })
}

describe.skipIf(process.platform !== 'linux')('commits on SQLite', () => {
  test.each(libraries)(
    'P13: with a connection of %s, a unit is reported as committed after its flush, and others see it before',
    async (library) => {
      using folder = temporaryFolder()
      using disk = watchDisk()
      await using store = sqlite({ open: () => openHandle(library, folder.file('app.db')) })
      await store.unitOfWork(async (tx) => tx.exec('CREATE TABLE t (number)'))
      const goOn = disk.hold()
      const first = watched(store.unitOfWork(insert(1)))
      const reading = watched(store.unitOfWork(count))
      await aMoment()
      expect([first.settled, reading.settled]).toEqual([false, false])
      const other = openHandle(library, folder.file('app.db'))
      expect(other.prepare('SELECT number FROM t').all()).toEqual([{ number: 1 }])
      other.close()
      goOn()
      await first.promise
      // What it has read is on the disk, so that its answer may be relied on elsewhere.
      expect(await reading.promise).toBe(1)
    },
  )

  test('P13: a unit that fails after it has read what is not on the disk fails after the flush', async () => {
    using folder = temporaryFolder()
    using disk = watchDisk()
    await using store = await openStore(folder.file('app.db'))
    const goOn = disk.hold()
    const first = store.unitOfWork(insert(1))
    const refused = watched(
      store.unitOfWork(async (tx) => {
        if ((await count(tx)) > 0) throw new Error('there already')
      }),
    )
    await aMoment()
    expect(refused.settled).toBe(false)
    goOn()
    await expect(refused.promise).rejects.toThrow('there already')
    await first
  })

  test('P1 P2: claims, confirms and dead letters wait for the disk', async () => {
    using folder = temporaryFolder()
    using disk = watchDisk()
    await using store = await openStore(folder.file('app.db'))
    await using queue = sqliteQueue({ path: folder.file('queue.db') })
    await queue.subscribe('q', [])
    await store.unitOfWork((tx) => store.outbox.save(tx, [message]))
    const goOn = disk.hold()
    const claim = watched(store.outbox.claim({ limit: 1, claimMs: 1000, token: 'a' }))
    const confirm = watched(Promise.all(queue.publish([message])))
    await aMoment()
    expect([claim.settled, confirm.settled]).toEqual([false, false])
    goOn()
    const [claimed] = await claim.promise
    expect(await confirm.promise).toEqual([{ kind: 'confirmed' }])
    const again = disk.hold()
    const dead = watched(
      store.outbox.settle([
        {
          position: claimed?.position ?? 0n,
          token: 'a',
          kind: 'dead',
          reason: 'refused',
          error: new Error('no'),
          onDead: 'skip',
          maybePublished: false,
        },
      ]),
    )
    await aMoment()
    expect(dead.settled).toBe(false)
    again()
    expect(await dead.promise).toEqual({ stale: 0 })
  })

  test('P6: a publishing that is given up while it waits for the disk is answered as unknown: others see its message', async () => {
    using folder = temporaryFolder()
    using disk = watchDisk()
    await using queue = sqliteQueue({ path: folder.file('queue.db') })
    await queue.subscribe('q', [])
    const goOn = disk.hold()
    const patience = new AbortController()
    const answers = queue.publish([message], { signal: patience.signal })
    await aMoment()
    patience.abort()
    const outcomes = await Promise.all(answers)
    goOn()
    expect(outcomes).toMatchObject([{ kind: 'unknown' }])
    const { promise, resolve } = Promise.withResolvers<string>()
    await using _ = await queue.consume({ queue: 'q', concurrency: 1 }, async (delivery) => {
      resolve(delivery.message.id)
      return { kind: 'ack' }
    })
    expect(await promise).toBe('m')
  })

  test('P6: what a loss of power only repeats does not wait for the disk, and is there soon', async () => {
    using folder = temporaryFolder()
    using disk = watchDisk()
    await using store = await openStore(folder.file('app.db'))
    await using queue = sqliteQueue({ path: folder.file('queue.db') })
    await queue.subscribe('q', [])
    await store.unitOfWork((tx) => store.outbox.save(tx, [message]))
    const [claimed] = await store.outbox.claim({ limit: 1, claimMs: 1000, token: 'a' })
    const handled: string[] = []
    const first = Promise.withResolvers<void>()
    const consumer = await queue.consume({ queue: 'q', concurrency: 1 }, async (delivery) => {
      handled.push(delivery.message.id)
      await first.promise
      return { kind: 'ack' }
    })
    await Promise.all(queue.publish([message, { ...message, id: 'second' }]))
    const goOn = disk.hold()
    const { position = 0n } = claimed ?? {}
    expect(await store.outbox.settle([{ position, token: 'a', kind: 'sent' }])).toEqual({
      stale: 0,
    })
    first.resolve()
    await expect.poll(() => handled).toEqual(['m', 'second'])
    await consumer[Symbol.asyncDispose]()
    const before = disk.flushed.length
    goOn()
    await expect
      .poll(() => new Set(disk.flushed.slice(before)))
      .toEqual(new Set([folder.file('app.db-wal'), folder.file('queue.db-wal')]))
  })

  test('what was put off is flushed when the store is closed, although others keep the file open', async () => {
    using folder = temporaryFolder()
    using disk = watchDisk()
    const path = folder.file('app.db')
    const store = await openStore(path)
    const other = openHandle('node:sqlite', path)
    other.prepare('SELECT * FROM t').all()
    await store.unitOfWork((tx) => store.outbox.save(tx, [message]))
    const [claimed] = await store.outbox.claim({ limit: 1, claimMs: 1000, token: 'a' })
    const before = disk.flushed.length
    await store.outbox.settle([{ position: claimed?.position ?? 0n, token: 'a', kind: 'sent' }])
    await store[Symbol.asyncDispose]()
    expect(disk.flushed.slice(before)).toEqual([`${path}-wal`])
    other.close()
  })

  test('P13: a publish that is given up during its flush answers unknown, before it unavailable', async () => {
    using folder = temporaryFolder()
    using disk = watchDisk()
    await using queue = sqliteQueue({ path: folder.file('queue.db') })
    await queue.subscribe('q', [])
    const goOn = disk.hold()
    const controller = new AbortController()
    const publishing = Promise.all(queue.publish([message], { signal: controller.signal }))
    await aMoment()
    controller.abort()
    expect(await publishing).toMatchObject([
      { kind: 'unknown', error: { code: 'MERSAL_COMMIT_UNKNOWN' } },
    ])
    const { signal } = controller
    expect(await Promise.all(queue.publish([message], { signal }))).toMatchObject([
      { kind: 'unavailable' },
    ])
    goOn()
  })

  test('all who wait share a flush', async () => {
    using folder = temporaryFolder()
    using disk = watchDisk()
    await using store = await openStore(folder.file('app.db'))
    const before = disk.flushed.length
    const goOn = disk.hold()
    const units = Array.from({ length: 50 }, (_, number) => store.unitOfWork(insert(number)))
    await aMoment()
    goOn()
    await Promise.all(units)
    expect(disk.flushed.length - before).toBeLessThan(10)
  })

  test('P1: nothing is published and no listener is told before the flush of its transaction', async () => {
    using folder = temporaryFolder()
    using disk = watchDisk()
    const Booked = event<{ n: number }>('booked')
    const network = memoryNetwork()
    const sent: string[] = []
    const inner = network.transport()
    const transport = {
      ...inner,
      publish: (...given: Parameters<typeof inner.publish>) => {
        sent.push(...given[0].map(({ type }) => type))
        return inner.publish(...given)
      },
    }
    await inner.subscribe('q', ['booked'])
    const app = new Mersal({
      name: 'app',
      store: sqlite({ path: folder.file('app.db') }),
      transport,
      sendOnly: true,
    })
    await app.start()
    const goOn = disk.hold()
    const unit = watched(app.transaction((_, { publish }) => publish(Booked, { n: 1 })))
    await aMoment()
    expect([unit.settled, sent]).toEqual([false, []])
    goOn()
    await unit.promise
    await expect.poll(() => sent).toEqual(['booked'])
    await app.stop()
  })

  test('a unit that is given up while it is being flushed has been committed, and says so', async () => {
    using folder = temporaryFolder()
    using disk = watchDisk()
    await using store = await openStore(folder.file('app.db'))
    const goOn = disk.hold()
    const controller = new AbortController()
    const unit = store.unitOfWork(insert(1), { signal: controller.signal })
    await aMoment()
    controller.abort(new Error('too slow'))
    goOn()
    await unit
    expect(await store.unitOfWork(count)).toBe(1)
  })

  test('a store that is closed meanwhile answers after the flush', async () => {
    using folder = temporaryFolder()
    using disk = watchDisk()
    const store = await openStore(folder.file('app.db'))
    const reader = openHandle('node:sqlite', folder.file('app.db'))
    reader.prepare('SELECT * FROM t').all()
    const goOn = disk.hold()
    const unit = watched(store.unitOfWork(insert(1)))
    const closing = watched(Promise.resolve(store[Symbol.asyncDispose]()))
    await aMoment()
    expect([unit.settled, closing.settled]).toEqual([false, false])
    goOn()
    await Promise.all([unit.promise, closing.promise])
    reader.close()
  })

  test('after its connection was cut off, the flush goes to the log that has the name now', async () => {
    using folder = temporaryFolder()
    using disk = watchDisk()
    const path = folder.file('app.db')
    await using store = await openStore(path)
    const controller = new AbortController()
    const unit = store.unitOfWork(
      async () => {
        controller.abort(new Error('given up'))
        return new Promise<never>(() => {})
      },
      { signal: controller.signal },
    )
    await expect(unit).rejects.toThrow('given up')
    const before = disk.flushed.length
    await store.unitOfWork(insert(1))
    expect(disk.flushed.slice(before)).toEqual([`${path}-wal`])
  })

  test('the folder of a new log is flushed with it, once', async () => {
    using folder = temporaryFolder()
    using disk = watchDisk()
    await using store = await openStore(folder.file('app.db'))
    await store.unitOfWork(insert(1))
    expect(disk.folders).toEqual([folder.path])
  })
})

describe.skipIf(process.platform !== 'linux')('P13: when the disk fails in a flush', () => {
  test.each(['EIO', 'ENOSPC'] as const)(
    'with %s, nobody is told of a commit, and writing goes on once everything is on the disk',
    async (code) => {
      using folder = temporaryFolder()
      using disk = watchDisk()
      const path = folder.file('app.db')
      await using store = await openStore(path)
      const goOn = disk.hold()
      const units = [store.unitOfWork(insert(1)), store.unitOfWork(insert(2))]
      // Whoever commits after the failure copies the log first, and may be told of its commit.
      await expect.poll(() => rowsSeenByOthers(path)).toBe(2)
      disk.failNext(code)
      goOn()
      for (const unit of await Promise.allSettled(units))
        expect(unit).toMatchObject({
          reason: { code: 'MERSAL_COMMIT_UNKNOWN', cause: { code } },
        })
      await store.unitOfWork(insert(3))
      expect(await store.unitOfWork(count)).toBe(3)
      expect(store.warnings).toEqual([expect.stringContaining('a flush had failed')])
    },
  )

  test('a flush that goes well later proves nothing: first the log is copied and begins anew', async () => {
    using folder = temporaryFolder()
    using disk = watchDisk()
    const path = folder.file('app.db')
    await using store = await openStore(path, { busyTimeoutMs: 100 })
    disk.failNext('EIO')
    await expect(store.unitOfWork(insert(1))).rejects.toMatchObject({
      code: 'MERSAL_COMMIT_UNKNOWN',
    })
    const reader = openHandle('node:sqlite', path)
    reader.exec('BEGIN')
    reader.prepare('SELECT * FROM t').all()
    await expect(store.unitOfWork(insert(2))).rejects.toMatchObject({ code: 'MERSAL_STORE_BUSY' })
    reader.exec('COMMIT')
    reader.close()
    await store.unitOfWork(insert(3))
    expect(await store.unitOfWork(count)).toBe(2)
  })

  test('a connection on which SQLite flushes by itself waits for the new log as well', async () => {
    using folder = temporaryFolder()
    using disk = watchDisk()
    const path = folder.file('app.db')
    await using store = await openStore(path)
    await using strict = await openStore(path, { flush: 'before-visible' })
    disk.failNext('EIO')
    await expect(store.unitOfWork(insert(1))).rejects.toMatchObject({
      code: 'MERSAL_COMMIT_UNKNOWN',
    })
    await strict.unitOfWork(insert(2))
    expect(strict.warnings).toEqual([expect.stringContaining('a flush had failed')])
    await store.unitOfWork(insert(3))
    expect(store.warnings).toEqual([])
  })

  test('a publish answers unknown, and a claim rejects', async () => {
    using folder = temporaryFolder()
    using disk = watchDisk()
    await using store = await openStore(folder.file('app.db'))
    await using queue = sqliteQueue({ path: folder.file('queue.db'), logger: silentLogger })
    await queue.subscribe('q', [])
    disk.failNext('EIO')
    expect(await Promise.all(queue.publish([message]))).toMatchObject([
      { kind: 'unknown', error: { code: 'MERSAL_COMMIT_UNKNOWN' } },
    ])
    await store.unitOfWork((tx) => store.outbox.save(tx, [message]))
    disk.failNext('EIO')
    await expect(store.outbox.claim({ limit: 1, claimMs: 1000, token: 'a' })).rejects.toMatchObject(
      { code: 'MERSAL_COMMIT_UNKNOWN' },
    )
  })

  test('a failure of which nobody was told is a warning for whoever writes next', async () => {
    using folder = temporaryFolder()
    using disk = watchDisk()
    await using store = await openStore(folder.file('app.db'))
    await store.unitOfWork((tx) => store.outbox.save(tx, [message]))
    const [claimed] = await store.outbox.claim({ limit: 1, claimMs: 1000, token: 'a' })
    disk.failNext('EIO')
    await store.outbox.settle([{ position: claimed?.position ?? 0n, token: 'a', kind: 'sent' }])
    await sleep(200)
    await store.unitOfWork(insert(1))
    expect(store.warnings).toEqual([expect.stringContaining('a flush had failed')])
  })
})

describe.skipIf(process.platform !== 'linux')('where SQLite flushes by itself', () => {
  test.each([
    ["flush: 'before-visible'", (path: string) => sqlite({ path, flush: 'before-visible' })],
    [
      'a handle that is shared',
      (path: string) => sqlite({ database: openHandle('node:sqlite', path) }),
    ],
  ])('with %s nobody sees a commit before it is on the disk', async (_, open) => {
    using folder = temporaryFolder()
    using disk = watchDisk()
    await using store = open(folder.file('app.db')) as ReturnType<typeof sqlite>
    const level = await store.unitOfWork(async (tx) =>
      (tx as ReturnType<typeof openHandle>).prepare('PRAGMA synchronous').all(),
    )
    expect(level).toEqual([{ synchronous: 2 }])
    await store.unitOfWork((tx) => store.outbox.save(tx, [message]))
    expect(disk.flushed).toEqual([])
  })

  test.each([sqlite, sqliteQueue])(
    'a shared handle refuses to be flushed later, since its owner commits as well',
    (open) => {
      const database = openHandle('node:sqlite', ':memory:')
      expect(() => open({ database, flush: 'before-answer' })).toThrow(
        expect.objectContaining({
          code: 'MERSAL_INVALID_OPTIONS',
          message: expect.stringMatching(/flush: 'before-answer' needs a connection of its own/),
        }),
      )
      expect(() => open({ path: 'x.db', flush: 'later' } as never)).toThrow(
        /flush: expected one of 'before-answer', 'before-visible'/,
      )
      database.close()
    },
  )

  test("with synchronous: 'normal' a unit does not wait for the disk, takes no express lane, and a claim still waits", async () => {
    using folder = temporaryFolder()
    using disk = watchDisk()
    await using store = await openStore(folder.file('app.db'), { synchronous: 'normal' })
    const goOn = disk.hold()
    const [saved] = await store.unitOfWork((tx) =>
      store.outbox.save(tx, [message], { express: { token: 'x', graceMs: 1000 } }),
    )
    expect(saved?.kind).toBe('row')
    const claim = watched(store.outbox.claim({ limit: 1, claimMs: 1000, token: 'a' }))
    await aMoment()
    expect(claim.settled).toBe(false)
    goOn()
    expect(await claim.promise).toHaveLength(1)
  })
})
