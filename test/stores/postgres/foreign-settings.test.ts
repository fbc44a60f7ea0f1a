import { randomUUID } from 'node:crypto'
import { PrismaPg } from '@prisma/adapter-pg'
import { sql as drizzleSql } from 'drizzle-orm'
import { drizzle as connectDrizzle } from 'drizzle-orm/postgres-js'
import connectKnex from 'knex'
import { types as globalTypes } from 'pg'
import connectPostgres from 'postgres'
import { Sequelize } from 'sequelize'
import { describe, expect, test } from 'vitest'
import { command, Mersal } from '../../../src/index.ts'
import { memoryTransport } from '../../../src/memory.ts'
import { postgres, postgresQueue, type Session } from '../../../src/postgres.ts'
import { ownTypes, type ValueTypes } from '../../../src/sql/postgres/types.ts'
import { drizzle } from '../../../src/sql/sessions/drizzle.ts'
import { knex } from '../../../src/sql/sessions/knex.ts'
import { postgresJs } from '../../../src/sql/sessions/postgres-js.ts'
import { prisma } from '../../../src/sql/sessions/prisma.ts'
import { sequelize } from '../../../src/sql/sessions/sequelize.ts'
import { serverAnswers, serverUrl, testDatabase } from '../../postgres/database.ts'
import { type Prisma, PrismaClient } from '../../postgres/prisma/generated/client.ts'

const present = await serverAnswers()
const Order = command<{ n: number }>('orders.place')

const camel = (name: string): string =>
  name.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())
const camelRow = <Row>(row: Row): Row =>
  typeof row !== 'object' || row === null
    ? row
    : (Object.fromEntries(Object.entries(row).map(([name, value]) => [camel(name), value])) as Row)

interface Library<Tx> {
  readonly session: Session<Tx>
  readonly transaction: (work: (tx: Tx) => Promise<unknown>) => Promise<unknown>
  readonly close: () => Promise<unknown>
}

/** Sends in units of ours, alone and together, and in transactions of the library. */
async function sends<Tx>(library: Library<Tx>): Promise<void> {
  await using database = await testDatabase()
  const { schema, pool } = database
  const store = postgres({ pool, schema, session: library.session })
  const app = new Mersal<Tx>({
    name: 'shop',
    store,
    transport: memoryTransport(),
    outbox: { runRelay: false },
    logger: false,
  })
  const handled = Promise.withResolvers<void>()
  app.handle(Order, async () => handled.resolve())
  await app.start()
  try {
    for (const [n, options] of [{}, { partitionKey: 'a' }].entries()) {
      await app.transaction((_tx, { sendLocal }) => sendLocal(Order, { n }, options))
      await app.transaction(async (_tx, { sendLocal }) => {
        await sendLocal(Order, { n }, options)
        await sendLocal(Order, { n }, options)
      })
      await library.transaction((tx) => app.within(tx).sendLocal(Order, { n }, options))
    }
    expect((await database.query(`select 1 from ${schema}.outbox`)).length).toBe(8)
  } finally {
    await app.stop()
    await store[Symbol.asyncDispose]()
    await library.close()
  }
}

describe.skipIf(!present)('names of columns that a program has turned into others', () => {
  test('postgres.js with transform: camel', async () => {
    const sql = connectPostgres(serverUrl, {
      max: 2,
      transform: connectPostgres.camel,
      onnotice: () => {},
    })
    await sends({
      session: postgresJs(sql),
      transaction: (work) => sql.begin(work),
      close: () => sql.end(),
    })
  })

  test('Drizzle on postgres.js with transform: camel', async () => {
    const client = connectPostgres(serverUrl, {
      max: 2,
      transform: connectPostgres.camel,
      onnotice: () => {},
    })
    const db = connectDrizzle({ client })
    await sends({
      session: drizzle(db, { sql: drizzleSql }),
      transaction: (work) => db.transaction(async (tx) => work(tx)),
      close: () => client.end(),
    })
  })

  test('Knex with postProcessResponse and wrapIdentifier', async () => {
    const db = connectKnex({
      client: 'pg',
      connection: serverUrl,
      pool: { min: 0, max: 2 },
      postProcessResponse: (result: { rows?: object[] }) =>
        Array.isArray(result.rows) ? { ...result, rows: result.rows.map(camelRow) } : result,
      wrapIdentifier: (value, wrap) =>
        wrap(value.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)),
    })
    await sends({
      session: knex(db),
      transaction: (work) => db.transaction((trx) => work(trx)),
      close: () => db.destroy(),
    })
  })

  test('Prisma with $extends on raw queries', async () => {
    const root = new PrismaClient({
      adapter: new PrismaPg({ connectionString: serverUrl, max: 2 }),
    })
    const client = root.$extends({
      query: {
        async $queryRawUnsafe({
          args,
          query,
        }: {
          args: unknown
          query: (args: never) => Promise<unknown>
        }) {
          const rows = await query(args as never)
          return Array.isArray(rows) ? rows.map(camelRow) : rows
        },
      },
    }) as unknown as PrismaClient
    await sends<Prisma.TransactionClient>({
      session: prisma(client),
      transaction: (work) => client.$transaction(work),
      close: () => root.$disconnect(),
    })
  })

  test('Sequelize whose queries are nested and plain by default', async () => {
    const instance = new Sequelize(serverUrl, {
      logging: false,
      pool: { min: 0, max: 2 },
      query: { raw: false, nest: true, plain: true },
    })
    await sends({
      session: sequelize(instance),
      transaction: (work) => instance.transaction(async (tx) => work(tx)),
      close: () => instance.close(),
    })
  })
})

/** Reads everything as something that nobody expects. */
const nonsense = { getTypeParser: () => () => Symbol('nonsense') } as never

describe.skipIf(!present)('values that a program reads with parsers of its own', () => {
  for (const binary of [false, true]) {
    test(`store, relay, inbox, queue and operations read with ours, binary: ${binary}`, async () => {
      await using database = await testDatabase()
      const { schema } = database
      const pool = database.newPool({
        types: nonsense,
        ...(binary ? ({ binary: true } as object) : {}),
      })
      const relayPool = database.newPool({
        types: nonsense,
        ...(binary ? ({ binary: true } as object) : {}),
      })
      const store = postgres({ pool, relayPool, schema })
      const handled: number[] = []
      for (const transport of [memoryTransport(), postgresQueue({ pool: relayPool, schema })]) {
        const app = new Mersal({
          name: 'shop',
          store: postgres({ pool, relayPool, schema }),
          transport,
          logger: false,
        })
        const done = Promise.withResolvers<void>()
        app.handle(Order, async ({ n }, { tx }) => {
          await tx.query(`insert into ${schema}.business values ('handled')`)
          handled.push(n)
          if (handled.length % 4 === 0) done.resolve()
        })
        await app.start()
        await app.transaction(async (_tx, { sendLocal }) => {
          for (const n of [1, 2]) await sendLocal(Order, { n }, { partitionKey: 'a' })
        })
        const client = await pool.connect()
        await client.query('begin')
        for (const n of [3, 4]) await app.within(client).sendLocal(Order, { n })
        await client.query('commit')
        client.release()
        await done.promise
        await app.stop()
      }
      expect(handled.toSorted((a, b) => a - b)).toEqual([1, 1, 2, 2, 3, 3, 4, 4])
      await store.open()
      expect(await store.admin.stats()).toMatchObject({ pending: 0, dead: 0 })
      await store[Symbol.asyncDispose]()
    })
  }

  test('P12: ids, bodies and numbers are whole through store and queue, binary: true', async () => {
    await using database = await testDatabase()
    const { schema } = database
    const pool = database.newPool({ binary: true } as object)
    const body = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))
    const message = {
      id: 'ffeeddcc-bbaa-7998-8877-66554433ff80',
      type: 'orders.bytes',
      headers: { 'content-type': 'application/octet-stream' },
      body,
      to: { transport: 'default', kind: 'queue', name: 'shop' },
    } as const
    await using store = postgres({ pool, schema })
    await store.open()
    await store.unitOfWork(async (tx) => void (await store.outbox.save(tx, [message])))
    const claim = { limit: 1, claimMs: 10_000, token: randomUUID() }
    const [row] = await store.outbox.claim(claim)
    expect(row?.message.id).toBe(message.id)
    expect(Buffer.from(row?.message.body ?? [])).toEqual(body)
    await using queue = postgresQueue({ pool, schema })
    await queue.subscribe('shop', [])
    expect(await Promise.all(queue.publish([message]))).toEqual([{ kind: 'confirmed' }])
    const came = Promise.withResolvers<Uint8Array>()
    await queue.consume({ queue: 'shop', concurrency: 1 }, async (delivery) => {
      came.resolve(delivery.message.body)
      return { kind: 'ack' }
    })
    expect(Buffer.from(await came.promise)).toEqual(body)
    const client = await pool.connect()
    expect(client).toHaveProperty('binary', true)
    client.release()
  })

  test('ours read what those of pg read', () => {
    const samples: readonly (readonly [oid: number, text: string])[] = [
      [16, 't'],
      [16, 'f'],
      [17, String.raw`\x00ff10`],
      [17, String.raw`a\\b\000\377`],
      [20, '9007199254740993'],
      [23, '-7'],
      [25, 'text'],
      [701, '1.5'],
      [2950, '00000000-0000-7000-8000-000000000001'],
    ]
    for (const [oid, text] of samples) {
      const [ours, theirs] = [ownTypes, globalTypes as ValueTypes].map((types) =>
        (types.getTypeParser(oid, 'text') as (text: string) => unknown)(text),
      )
      expect(ours, String(oid)).toEqual(theirs)
    }
  })
})
