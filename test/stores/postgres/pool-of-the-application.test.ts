import { EventEmitter } from 'node:events'
import { Pool, type PoolClient, type PoolConfig } from 'pg'
import { describe, expect, test } from 'vitest'
import { postgres, postgresQueue } from '../../../src/postgres.ts'
import { claim, message } from '../../postgres/messages.ts'
import { serverAnswers, serverUrl, testDatabase } from '../../postgres/database.ts'

const present = await serverAnswers()

/** A pool whose class knows the database by itself, as some of those in large companies do. */
class Tenants extends Pool {
  constructor(tenant: string, options: PoolConfig) {
    super({ ...options, application_name: tenant })
  }
}

/** A pool that logs, without a constructor of its own. */
class Logged extends Pool {
  override connect(): never {
    return super.connect() as never
  }
}

class BoundPool extends Pool {
  override connect(): never {
    return super.connect() as never
  }
}

const foreign = {
  'a subclass with other arguments': () => new Tenants('north', { connectionString: serverUrl }),
  'a subclass that overrides a method': () => new Logged({ connectionString: serverUrl }),
  'a subclass that borrows the name of the one of pg': () =>
    new BoundPool({ connectionString: serverUrl }),
  'a pool whose connect was replaced': () => {
    const pool = new Pool({ connectionString: serverUrl })
    const connect = pool.connect.bind(pool)
    return Object.assign(pool, { connect: () => connect() })
  },
} as const

describe.skipIf(!present)('the pool of an application', () => {
  for (const [what, make] of Object.entries(foreign)) {
    test(`${what} is never copied by guess: the store and the queue ask for a second pool`, async () => {
      const pool = make()
      const field = { code: 'MERSAL_INVALID_OPTIONS', details: { field: 'pool' } }
      expect(() => postgres({ pool })).toThrow(
        expect.objectContaining({ ...field, message: expect.stringContaining("give 'relayPool'") }),
      )
      expect(() => postgresQueue({ pool })).toThrow(
        expect.objectContaining({ ...field, message: expect.stringContaining("give 'queuePool'") }),
      )
      await using database = await testDatabase()
      await using store = postgres({ pool, relayPool: database.newPool(), schema: database.schema })
      await store.open()
      await store.unitOfWork(async (tx) => void (await store.outbox.save(tx, [message('a')])))
      expect(await claim(store)).toHaveLength(1)
      await pool.end()
    })
  }

  test('a pool of pg-pool itself, with a client of its own, is copied', async () => {
    await using database = await testDatabase()
    const Bare = Object.getPrototypeOf(Pool) as new (options: PoolConfig) => Pool
    const pool = new Bare({ connectionString: serverUrl })
    const store = postgres({ pool, schema: database.schema })
    await store.open()
    expect(await claim(store)).toEqual([])
    await store[Symbol.asyncDispose]()
    await pool.end()
  })

  test("what the application does in the event 'connect' of its pool holds for the connections of the store", async () => {
    await using database = await testDatabase()
    const role = `${database.schema}_role`
    await database.query(`create role ${role}`)
    await database.query(
      `grant create on database ${new URL(serverUrl).pathname.slice(1)} to ${role}`,
    )
    const pool = database.newPool()
    pool.on('connect', (client: PoolClient) => void client.query(`set role ${role}`))
    const schema = `${database.schema}_of_role`
    const store = postgres({ pool, schema })
    await store.open()
    const owners = await database.query(
      'select distinct tableowner from pg_tables where schemaname = $1',
      [schema],
    )
    await store[Symbol.asyncDispose]()
    await database.query(`drop schema ${schema} cascade`)
    await database.query(`drop owned by ${role}`)
    await database.query(`drop role ${role}`)
    expect(owners).toEqual([{ tableowner: role }])
  })

  test('many stores on one pool warn of nothing and leave no listener behind', async () => {
    await using database = await testDatabase()
    const warnings: Error[] = []
    const note = (warning: Error): void => void warnings.push(warning)
    process.on('warning', note)
    const emitters: readonly EventEmitter[] = [database.pool]
    const counts = (): number[] =>
      emitters.flatMap((one) => one.eventNames().map((name) => one.listenerCount(name)))
    const before = counts()
    const client = (await database.pool.connect()) as PoolClient & EventEmitter
    const lentBefore = client.listenerCount('error')
    client.release()
    const stores = Array.from({ length: 12 }, () =>
      postgres({ pool: database.pool, schema: database.schema }),
    )
    const queues = Array.from({ length: 12 }, () =>
      postgresQueue({ pool: database.pool, schema: database.schema }),
    )
    await Promise.all(stores.map((store) => store.open()))
    await Promise.all(stores.map((store) => store.unitOfWork((tx) => tx.query('select 1'))))
    for (const one of [...stores, ...queues]) await one[Symbol.asyncDispose]()
    const again = (await database.pool.connect()) as PoolClient & EventEmitter
    expect(again.listenerCount('error')).toBe(lentBefore)
    again.release()
    await new Promise((resolve) => setImmediate(resolve))
    process.off('warning', note)
    expect(warnings).toEqual([])
    expect(counts()).toEqual(before)
  })

  test('a store that closes before another one on the same pool leaves that one its protection', async () => {
    await using database = await testDatabase()
    const first = postgres({ pool: database.pool, schema: database.schema })
    await using _second = postgres({ pool: database.pool, schema: database.schema })
    await first[Symbol.asyncDispose]()
    expect(database.pool.listenerCount('connect')).toBe(1)
  })
})
