import { mkdtemp, rm } from 'node:fs/promises'
import { DatabaseSync } from 'node:sqlite'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Mersal, command, event } from '../../src/index.ts'
import { sqlite, sqliteQueue } from '../../src/sqlite.ts'
import { drain } from '../../src/testing/index.ts'

const Register = command<{ name: string }>('students.register')
const Registered = event<{ name: string }>('students.registered')

let folder = ''
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mersal-app-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

function setUp(handlerTimeoutMs = 30_000) {
  const path = join(folder, 'app.db')
  const app = new Mersal({
    name: 'registrar',
    store: sqlite({ path }),
    transport: sqliteQueue({ path: join(folder, 'queue.db') }),
    logger: false,
    receive: { handlerTimeoutMs, immediateRetries: 0, backoff: { firstMs: 1, longestMs: 1 } },
  })
  return app
}

test('commands become rows and events, each exactly once, over a restart of the app', async () => {
  const seen: string[] = []
  const make = () => {
    const app = setUp()
    app.handle(Register, async ({ name }, { tx, publish }) => {
      tx.exec('create table if not exists students (name text)')
      tx.prepare('insert into students (name) values (?)').run(name)
      await publish(Registered, { name })
    })
    app.handle(Registered, ({ name }) => void seen.push(name))
    return app
  }
  const first = make()
  await first.transaction(async (_tx, { sendLocal }) => {
    for (let number = 0; number < 30; number++)
      await sendLocal(Register, { name: `student-${number}` })
  })
  await first.stop() // never started: the rows wait in the file
  await using app = make()
  await app.start()
  await drain(app)
  const count = await app.transaction(async (tx) =>
    tx.prepare('select count(*) as n, count(distinct name) as d from students').get(),
  )
  expect({ ...(count as object) }).toEqual({ n: 30, d: 30 })
  expect(new Set(seen).size).toBe(30)
  expect(seen).toHaveLength(30)
})

test('a handler that ignores its signal holds up nobody: its transaction is rolled back and others go on', async () => {
  await using app = setUp(500)
  const stuck = Promise.withResolvers<void>()
  const handled = Promise.withResolvers<void>()
  const again = Promise.withResolvers<void>()
  let late: Promise<unknown> | undefined
  app.handle(Register, async ({ name }, { tx, publish, attempt }) => {
    tx.exec('create table if not exists students (name text)')
    tx.prepare('insert into students (name) values (?)').run(name)
    if (attempt > 1) return again.resolve()
    await stuck.promise
    late = publish(Registered, { name }).catch((error: unknown) => error)
  })
  app.handle(Registered, () => handled.resolve())
  await app.start()
  await app.transaction(async (_tx, { sendLocal }) => sendLocal(Register, { name: 'stuck' }))
  await app.transaction(async (_tx, { publish }) => publish(Registered, { name: 'another' }))
  await handled.promise
  stuck.resolve()
  await again.promise
  await drain(app)
  const rows = await app.transaction(async (tx) => tx.prepare('select name from students').all())
  expect(rows.map((row) => ({ ...row }))).toEqual([{ name: 'stuck' }])
  expect(await late).toMatchObject({ code: 'MERSAL_UNIT_ENDED' })
})

test.each(['a path', 'a handle'])(
  'P1: what a handler on %s writes after its time was up reaches no other transaction',
  async (source) => {
    const path = join(folder, 'late.db')
    const database = source === 'a handle' ? new DatabaseSync(path) : undefined
    const late = Promise.withResolvers<void>()
    const wrote = Promise.withResolvers<unknown>()
    const logger = { debug: () => {}, info: () => {}, warn: () => late.resolve(), error: () => {} }
    await using app = new Mersal({
      name: 'registrar',
      store: database === undefined ? sqlite({ path }) : sqlite({ database }),
      transport: sqliteQueue({ path: join(folder, 'queue.db') }),
      logger,
      receive: { handlerTimeoutMs: 20, immediateRetries: 0, backoff: { firstMs: 1, longestMs: 1 } },
    })
    const again = Promise.withResolvers<void>()
    app.handle(Register, async ({ name }, { tx, attempt, signal }) => {
      if (attempt > 1) return again.resolve()
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
      // The next turn of the loop: by now a unit that had let go of the handle would be over.
      await new Promise((resolve) => setImmediate(resolve))
      try {
        wrote.resolve(tx.prepare('insert into students (name) values (?)').run(name))
      } catch (error) {
        wrote.resolve(error)
      }
    })
    await app.start()
    await app.transaction(async (tx, { sendLocal }) => {
      tx.exec('create table students (name text)')
      await sendLocal(Register, { name: 'late' })
    })
    await wrote.promise
    await late.promise
    await again.promise
    const rows = await app.transaction(async (tx) => tx.prepare('select name from students').all())
    expect(rows).toEqual([])
    await app.stop()
    database?.close()
  },
)
