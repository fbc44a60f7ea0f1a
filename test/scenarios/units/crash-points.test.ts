import { Kysely, MysqlDialect, PostgresDialect, type Transaction } from 'kysely'
import { createPool } from 'mysql2'
import { describe, expect, test } from 'vitest'
import { command, event, Mersal, type Store, type Transport } from '../../../src/index.ts'
import { memoryStore, memoryTransport } from '../../../src/memory.ts'
import { mysql, mysqlQueue } from '../../../src/mysql.ts'
import { postgres, postgresQueue } from '../../../src/postgres.ts'
import { kysely } from '../../../src/sql/sessions/kysely.ts'
import { sqlite, sqliteQueue } from '../../../src/sqlite.ts'
import { type CrashPoint, crashPoints } from '../../../src/testing/crash-points.ts'
import { drain } from '../../../src/testing/index.ts'
import { openHandle, temporaryFolder } from '../../contract/sqlite-harness.ts'
import { serverAnswers as mysqlAnswers, testDatabase as mysqlDatabase } from '../../mysql/server.ts'
import { serverAnswers, testDatabase } from '../../postgres/database.ts'

const Place = command<{ n: number }>('orders.place')
const Placed = event<{ n: number }>('orders.placed')

/** `queue`: messages go straight into it, in the transaction of the unit. */
type Queue = 'no' | 'beside the outbox'

interface World<Tx> {
  readonly store: Store<Tx>
  readonly transport: Transport
  /** A transaction that the app does not own. */
  readonly transaction: ((work: (tx: Tx) => Promise<void>) => Promise<void>) | undefined
}

type Open = (stack: AsyncDisposableStack, queue: Queue) => Promise<World<unknown>>

async function onPool(stack: AsyncDisposableStack, queue: Queue): Promise<World<unknown>> {
  const { pool, schema } = stack.use(await testDatabase())
  return {
    store: stack.use(postgres({ pool, schema })) as Store<unknown>,
    transport: queue === 'no' ? memoryTransport() : stack.use(postgresQueue({ pool, schema })),
    async transaction(work) {
      const client = await pool.connect()
      await client.query('begin')
      await work(client)
      await client.query('commit')
      client.release()
    },
  }
}

async function onKysely(stack: AsyncDisposableStack): Promise<World<unknown>> {
  const database = stack.use(await testDatabase())
  const { schema, pool } = database
  const db = new Kysely<object>({ dialect: new PostgresDialect({ pool: database.newPool() }) })
  const session = kysely<Transaction<object>>(db)
  return {
    store: stack.use(postgres({ pool, session, schema })) as Store<unknown>,
    transport: memoryTransport(),
    transaction: (work) => db.transaction().execute(work),
  }
}

async function onMysql(stack: AsyncDisposableStack, queue: Queue): Promise<World<unknown>> {
  const { pool } = stack.use(await mysqlDatabase())
  return {
    store: stack.use(mysql({ pool })) as Store<unknown>,
    transport: queue === 'no' ? memoryTransport() : stack.use(mysqlQueue({ pool })),
    async transaction(work) {
      const connection = await pool.getConnection()
      await connection.beginTransaction()
      await work(connection)
      await connection.commit()
      connection.release()
    },
  }
}

async function onMysqlKysely(stack: AsyncDisposableStack): Promise<World<unknown>> {
  const { pool, url } = stack.use(await mysqlDatabase())
  const own = createPool({ uri: url, connectionLimit: 3 })
  const db = new Kysely<object>({ dialect: new MysqlDialect({ pool: own }) })
  stack.defer(() => db.destroy())
  const session = kysely<Transaction<object>>(db)
  return {
    store: stack.use(mysql({ pool, session })) as Store<unknown>,
    transport: memoryTransport(),
    transaction: (work) => db.transaction().execute(work),
  }
}

function onSqlite(stack: AsyncDisposableStack, queue: Queue): Promise<World<unknown>> {
  const folder = stack.use(temporaryFolder())
  const path = folder.file('app.db')
  return Promise.resolve({
    store: stack.use(sqlite({ path })) as Store<unknown>,
    transport: queue === 'no' ? memoryTransport() : stack.use(sqliteQueue({ path })),
    transaction: undefined,
  })
}

/** A handle that the app shares with its owner. */
function onShared(stack: AsyncDisposableStack): Promise<World<unknown>> {
  const database = openHandle('node:sqlite', stack.use(temporaryFolder()).file('app.db'))
  stack.defer(() => void database.close())
  return Promise.resolve({
    store: stack.use(sqlite({ database })) as Store<unknown>,
    transport: memoryTransport(),
    async transaction(work) {
      database.exec('BEGIN IMMEDIATE')
      await work(database)
      database.exec('COMMIT')
    },
  })
}

function onMemory(): Promise<World<unknown>> {
  return Promise.resolve({
    store: memoryStore(),
    transport: memoryTransport(),
    transaction: undefined,
  })
}

const [hasPostgres, hasMysql] = [await serverAnswers(), await mysqlAnswers()]
const worlds: readonly (readonly [
  name: string,
  open: Open,
  queues: readonly Queue[],
  /** How many messages share a transaction of the consumer. */
  batches: readonly number[],
])[] = [
  ['memory', onMemory, ['no'], [1, 4]],
  ['SQLite', onSqlite, ['no', 'beside the outbox'], [1, 4]],
  ['a shared handle of SQLite', onShared, ['no'], [1, 4]],
  ...(hasPostgres
    ? ([
        ['a pool of pg', onPool, ['no', 'beside the outbox'], [1, 4]],
        ['Kysely on PostgreSQL', onKysely, ['no'], [1]],
      ] as const)
    : []),
  ...(hasMysql
    ? ([
        ['mysql2', onMysql, ['no', 'beside the outbox'], [1]],
        ['Kysely on MySQL', onMysqlKysely, ['no'], [1]],
      ] as const)
    : []),
]

interface Bench {
  readonly app: Mersal<unknown>
  readonly world: World<unknown>
  /** An event has been handled. */
  readonly handled: Promise<void>
  /** Points that have been reached, in their order. */
  readonly reached: CrashPoint[]
}

async function open(
  stack: AsyncDisposableStack,
  make: Open,
  queue: Queue,
  batch = 1,
  at: (point: CrashPoint) => void | Promise<void> = () => {},
): Promise<Bench> {
  const world = await make(stack, queue)
  const reached: CrashPoint[] = []
  const { store, transport } = crashPoints({
    store: world.store,
    transport: world.transport,
    at: (point) => {
      reached.push(point)
      return at(point)
    },
  })
  const app = new Mersal({ name: 'shop', store, transport, logger: false })
  app.handle(Place, async ({ n }, { publish }) => void (await publish(Placed, { n })), { batch })
  const handled = Promise.withResolvers<void>()
  app.handle(Placed, () => handled.resolve())
  stack.defer(() => app.stop())
  await app.start()
  return { app, world, reached, handled: handled.promise }
}

const only = (letter: string, points: readonly CrashPoint[]): readonly CrashPoint[] =>
  points.filter((point) => point.startsWith(letter))

describe.each(worlds)('on %s the points of crashPointList', (_name, make, queues, batches) => {
  test.each(queues)('of a writer are reached in their order; queue %s', async (queue) => {
    await using stack = new AsyncDisposableStack()
    const { app, reached } = await open(stack, make, queue)
    await app.transaction(async (_tx, { sendLocal, publish }) => {
      await sendLocal(Place, { n: 1 })
      await publish(Placed, { n: 2 }, { partitionKey: 'a' })
    })
    expect(only('P', reached)).toEqual(['P1', 'P2', 'P3', 'P4', 'P6'])
    await drain(app)
  })

  test.each(queues)('of a writer without messages leave out P3; queue %s', async (queue) => {
    await using stack = new AsyncDisposableStack()
    const { app, reached } = await open(stack, make, queue)
    await app.transaction(() => Promise.resolve())
    expect(only('P', reached)).toEqual(['P1', 'P2', 'P4', 'P6'])
  })

  test.each(queues.flatMap((queue) => batches.map((batch) => [queue, batch] as const)))(
    'of a consumer are reached in their order; queue %s, batch %s',
    async (queue, batch) => {
      await using stack = new AsyncDisposableStack()
      const { app, reached, handled } = await open(stack, make, queue, batch)
      await app.transaction(async (_tx, { sendLocal }) => void (await sendLocal(Place, { n: 1 })))
      await handled
      // The event comes only when its cause is committed: each point is of the command first.
      expect([...new Set(only('C', reached))].slice(0, 5)).toEqual(['C1', 'C2', 'C3', 'C5', 'C7'])
      expect(reached.filter((point) => point === 'C5')).toHaveLength(1)
      expect(only('P', reached)).toEqual(['P1', 'P2', 'P3', 'P4', 'P6'])
      await drain(app)
    },
  )

  test.each(queues)(
    'P3 keeps the messages of a unit out of the tables as long as it waits; queue %s',
    async (queue) => {
      await using stack = new AsyncDisposableStack()
      const failure = new Error('at P3')
      const { app, world } = await open(stack, make, queue, 1, (point) =>
        point === 'P3' ? Promise.reject(failure) : undefined,
      )
      const unit = app.transaction(
        async (_tx, { publish }) => void (await publish(Placed, { n: 1 })),
      )
      await expect(unit).rejects.toThrow('at P3')
      expect((await world.store.admin.stats()).pending).toBe(0)
    },
  )
})

const others = worlds.filter(([name]) => name !== 'memory' && name !== 'SQLite')

describe.each(others)('on %s P3 of a transaction of somebody else', (_name, make) => {
  test('comes before each message, whether the hook waits or not', async () => {
    await using stack = new AsyncDisposableStack()
    let waits = false
    const { app, world, reached } = await open(stack, make, 'no', 1, () =>
      waits ? new Promise((resolve) => setImmediate(resolve)) : undefined,
    )
    await world.transaction?.(async (tx) => {
      await app.within(tx).publish(Placed, { n: 1 })
      waits = true
      await app.within(tx).publish(Placed, { n: 2 })
    })
    expect(only('P', reached)).toEqual(['P3', 'P3'])
    await drain(app)
  })
})

describe('crash points refuse, by name,', () => {
  const given = { store: memoryStore(), transport: memoryTransport(), at: () => {} }

  test.each([
    ['what is no store', { store: {} }, 'crashPoints().store'],
    ['what is no transport', { transport: {} }, 'crashPoints().transport'],
    ['what cannot be called', { at: 'P1' }, 'crashPoints().at'],
    ['an unknown option', { points: [] }, 'crashPoints().points'],
  ])('%s', (_, wrong, field) => {
    expect(() => crashPoints({ ...given, ...wrong } as never)).toThrow(
      expect.objectContaining({
        code: 'MERSAL_INVALID_OPTIONS',
        message: expect.stringContaining(field),
      }),
    )
  })
})
