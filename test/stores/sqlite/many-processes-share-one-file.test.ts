import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import { sqlite, sqliteQueue } from '../../../src/sqlite.ts'
import { handleOf } from '../../../src/sql/sqlite/connection/database.ts'
import { applyMigrations } from '../../../src/sql/sqlite/migrate.ts'
import { storeTables } from '../../../src/stores/sqlite/schema.ts'
import { queueTables } from '../../../src/transports/sqlite/statements.ts'
import { temporaryFolder } from '../../contract/sqlite-harness.ts'
import { createBusinessTable, inspect, startWorker, type Worker } from './processes.ts'
import type { Held } from './worker.ts'

test('P2 P5: four claimers and three writers on hot keys lose nothing, hold no key at the same time, and keep the order of each key', async () => {
  using folder = temporaryFolder()
  const path = folder.file('app.db')
  createBusinessTable(path)
  await using workers = new AsyncDisposableStack()
  const start = (task: Parameters<typeof startWorker>[0]): Worker => workers.use(startWorker(task))
  const claimers = ['c1', 'c2', 'c3', 'c4'].map((name) => start({ role: 'claim', path, name }))
  await Promise.all(claimers.map((claimer) => claimer.said(1)))
  const writers = ['w1', 'w2', 'w3'].map((name) =>
    start({ role: 'write', path, name, keys: 4, units: 150 }),
  )
  expect(await Promise.all(writers.map((writer) => writer.ended))).toEqual([0, 0, 0])
  for (const { process } of claimers) process.send('finish')
  expect(await Promise.all(claimers.map((claimer) => claimer.ended))).toEqual([0, 0, 0, 0])

  const held = claimers.flatMap(
    ({ messages }) => messages.filter((message) => message !== 'ready') as Held[],
  )
  const ids = held.flatMap(({ rows }) => rows.map((row) => row.id))
  expect(ids.length).toBe(3 * 150 * 3)
  expect(new Set(ids).size).toBe(ids.length)
  expect(held.every(({ rows }) => rows.every((row) => row.attempt === 1))).toBe(true)
  for (const key of ['k0', 'k1', 'k2', 'k3']) expectOrder(held, key)
  expect(inspect(path, 'SELECT * FROM mersal_outbox')).toEqual([])
})

function expectOrder(held: readonly Held[], key: string): void {
  const spans = held
    .map(({ from, to, rows }) => ({
      from: BigInt(from),
      to: BigInt(to),
      ids: rows.filter((row) => row.key === key).map((row) => row.id),
    }))
    .filter(({ ids }) => ids.length > 0)
    .sort((left, right) => Number(left.from - right.from))
  const total = spans.reduce((sum, { ids }) => sum + ids.length, 0)
  expect(spans.flatMap(({ ids }) => ids)).toEqual(
    Array.from({ length: total }, (_, index) => `${key}/${index + 1}`),
  )
  for (const [index, span] of spans.entries()) {
    const before = spans[index - 1]
    if (before !== undefined) expect(span.from > before.to).toBe(true)
  }
}

test('twenty processes that open a new file at the same time all succeed, and each step of the schema is applied once', async () => {
  using folder = temporaryFolder()
  const path = folder.file('app.db')
  await using workers = new AsyncDisposableStack()
  const all = Array.from({ length: 20 }, () => workers.use(startWorker({ role: 'migrate', path })))
  expect(await Promise.all(all.map((worker) => worker.ended))).toEqual(all.map(() => 0))
  expect(
    inspect(path, 'SELECT component, id FROM mersal_migrations ORDER BY component, id'),
  ).toMatchObject([
    ...queueTables.steps.map(({ version }) => ({ component: 'queue', id: version })),
    ...storeTables.steps.map(({ version }) => ({ component: 'store', id: version })),
  ])
})

test('P1: a process that is killed in the middle of its writes leaves each unit whole or not at all', async () => {
  using folder = temporaryFolder()
  const path = folder.file('app.db')
  createBusinessTable(path)
  for (let round = 0; round < 5; round++) {
    await using writer = startWorker({
      role: 'write',
      path,
      name: `w${round}`,
      keys: 4,
      units: 100_000,
    })
    await writer.said(3 + round)
    writer.process.kill('SIGKILL')
    expect(await writer.ended).toBe('SIGKILL')
  }
  const business = inspect<{ name: string }>(path, 'SELECT name FROM business ORDER BY name').map(
    (row) => row.name,
  )
  const messages = inspect<{ type: string; number: number }>(
    path,
    'SELECT type, count(*) AS number FROM mersal_outbox GROUP BY type ORDER BY type',
  )
  expect(business.length).toBeGreaterThan(100)
  expect(messages.map((row) => row.type)).toEqual(business)
  expect(new Set(messages.map((row) => row.number))).toEqual(new Set([3]))
  expect(inspect(path, 'PRAGMA integrity_check')).toMatchObject([{ integrity_check: 'ok' }])
})

test('a process that finds the tables missing and has to wait for the lock finds them made by the one before, and goes on', async () => {
  using folder = temporaryFolder()
  const path = folder.file('app.db')
  createBusinessTable(path)
  using first = new DatabaseSync(path)
  first.exec('BEGIN IMMEDIATE')
  await using second = sqlite({ path })
  const opening = second.open()
  // By the next turn the second one has looked and waits for the lock.
  await new Promise((resolve) => setImmediate(resolve))
  applyMigrations(handleOf(first), storeTables, 0)
  first.exec('COMMIT')
  await opening
  const applied = storeTables.steps.map(({ version }) => ({ id: version, applied_at: 0 }))
  expect(inspect(path, 'SELECT id, applied_at FROM mersal_migrations ORDER BY id')).toMatchObject(
    applied,
  )
})

test('a lock of another process makes a unit wait without blocking the thread, and fail as busy when its time is up', async () => {
  using folder = temporaryFolder()
  const path = folder.file('app.db')
  createBusinessTable(path)
  using database = new DatabaseSync(path, { timeout: 20_000 })
  await using impatient = sqlite({ database, busyTimeoutMs: 150 })
  await using patient = sqlite({ path, busyTimeoutMs: 60_000 })
  await impatient.open()
  await patient.open()
  await using holder = startWorker({ role: 'hold', path })
  await holder.said(1)
  let ticks = 0
  const timer = setInterval(() => ticks++, 5)
  await expect(impatient.unitOfWork(async () => {})).rejects.toMatchObject({
    code: 'MERSAL_STORE_BUSY',
  })
  clearInterval(timer)
  expect(ticks).toBeGreaterThan(0)
  const waiting = patient.unitOfWork(async (tx) =>
    tx.prepare('SELECT count(*) AS number FROM business').get(),
  )
  holder.process.send('release')
  expect(await waiting).toMatchObject({ number: 1 })
})

test('P8: a message that kills the process of its handler is counted each time, and comes again', async () => {
  using folder = temporaryFolder()
  const path = folder.file('queue.db')
  await using queue = sqliteQueue({ path })
  await queue.subscribe('q', [])
  const message = {
    id: 'm',
    type: 't',
    headers: {},
    body: new Uint8Array([1]),
    to: { transport: 'default', kind: 'queue', name: 'q' } as const,
  }
  expect(await Promise.all(queue.publish([message]))).toEqual([{ kind: 'confirmed' }])
  for (let death = 0; death < 2; death++) {
    await using victim = startWorker({ role: 'die-in-handler', path })
    expect(await victim.ended).toBe('SIGKILL')
  }
  const { promise, resolve } = Promise.withResolvers<number>()
  const consumption = await queue.consume({ queue: 'q', concurrency: 1 }, async ({ attempt }) => {
    resolve(attempt)
    return { kind: 'ack' }
  })
  expect(await promise).toBe(3)
  await consumption[Symbol.asyncDispose]()
})

test('a relay hears of a commit of another process, without polling the outbox', async () => {
  using folder = temporaryFolder()
  const path = folder.file('app.db')
  createBusinessTable(path)
  await using store = sqlite({ path })
  await store.open()
  const stop = new AbortController()
  const { promise: woken, resolve: wake } = Promise.withResolvers<void>()
  const watching = Promise.all(store.wakers.map((waker) => waker(wake, { signal: stop.signal })))
  await using writer = startWorker({ role: 'write', path, name: 'w', keys: 1, units: 1 })
  await woken
  expect(await writer.ended).toBe(0)
  stop.abort()
  await watching
  expect(await store.outbox.claim({ limit: 10, claimMs: 1000, token: 't' })).toHaveLength(3)
})
