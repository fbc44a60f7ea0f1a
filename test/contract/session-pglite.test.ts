import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { PGlite, type Transaction } from '@electric-sql/pglite'
import { afterAll, beforeAll, describe, test } from 'vitest'
import { uuidv7 } from '../../src/lib/uuid.ts'
import { pglite, pglitePool } from '../../src/pglite.ts'
import { postgres, type PostgresClient, type PostgresOptions, type PostgresStore } from '../../src/postgres.ts'
import {
  type ContractCase,
  outboxContract,
  outboxRetentionContract,
  type RetentionHarness,
  trackerContract,
  wakerContract,
} from '../../src/testing/index.ts'
import { pgliteSchema } from '../postgres/pglite.ts'
import { sessionScenarios } from '../postgres/session-suite.ts'

let db: PGlite
beforeAll(async () => {
  db = await PGlite.create()
})
afterAll(() => db.close())

describe('session of PGlite 0.5', () => {
  sessionScenarios<Transaction>(async () => {
    const database = await pgliteSchema(db)
    const ended = await db.transaction((tx) => Promise.resolve(tx))
    const library = {
      session: pglite<Transaction>(db),
      transaction: (work: (tx: Transaction) => Promise<void>) => db.transaction(work),
      insert: async (tx: Transaction, text: string) => void (await tx.query(`insert into ${database.schema}.business values ($1)`, [text])),
      async savepoint(tx: Transaction, work: (inner: Transaction) => Promise<void>): Promise<void> {
        await tx.exec('savepoint inner_one')
        try {
          await work(tx)
          await tx.exec('release savepoint inner_one')
        } catch (error) {
          await tx.exec('rollback to savepoint inner_one')
          throw error
        }
      },
      fail: async (tx: Transaction) => void (await tx.query('select 1 / 0')),
      roots: [db, ended],
      close: () => Promise.resolve(), // one database for all of them
      oneConnection: true as const,
    }
    return { database, library }
  })
})

interface Harness extends RetentionHarness<PostgresClient> {
  open(options?: Partial<PostgresOptions>): Promise<PostgresStore<PostgresClient>>
}

async function harness(): Promise<Harness> {
  const database = await pgliteSchema(db)
  const { schema } = database
  const open = async (options: Partial<PostgresOptions> = {}): Promise<PostgresStore<PostgresClient>> => {
    const pool = pglitePool(db)
    const store = postgres({ pool, relayPool: pool, schema, ...options })
    await store.open()
    return store
  }
  return {
    open,
    openKeeping: (keepSentMs) => open({ keepSentMs }),
    write: async (tx, text) => void (await tx.query(`insert into ${schema}.business values ($1)`, [text])),
    read: async () => (await database.query(`select text from ${schema}.business`)).map((row) => String(row['text'])),
    elapse: (ms) => sleep(ms),
    strangers: [database.pool, db, 'a text', 1, null],
    [Symbol.asyncDispose]: () => database[Symbol.asyncDispose](),
  }
}

function run(name: string, cases: readonly ContractCase<Harness>[]): void {
  describe(`postgres store on PGlite: ${name}`, () => {
    for (const item of cases) {
      test(item.name, async () => {
        await using here = await harness()
        await item.run(here)
      })
    }
  })
}

run('outbox', [...outboxContract, ...outboxRetentionContract])
run('tracker', trackerContract)

describe('postgres store on PGlite: waker', () => {
  for (const item of wakerContract) {
    test(item.name, async () => {
      await using here = await harness()
      await using store = await here.open()
      const [waker] = store.wakers
      assert.ok(waker)
      const cause = async (): Promise<void> => {
        const to = { transport: 'default', kind: 'queue', name: 'q' } as const
        const message = { id: uuidv7(Date.now()), type: 'hint', headers: {}, body: new Uint8Array(), to }
        await store.unitOfWork((tx) => store.outbox.save(tx, [message]))
      }
      await item.run({ waker, cause, [Symbol.asyncDispose]: () => Promise.resolve() })
    })
  }
})

describe('a pool over PGlite', () => {
  test('a client that began a transaction keeps the others waiting until it commits', async () => {
    await using database = await pgliteSchema(db)
    const [first, second] = [await database.pool.connect(), await database.pool.connect()]
    await first.query('begin isolation level repeatable read')
    const { rows } = await first.query('show transaction_isolation')
    assert.deepEqual([rows, first.getTransactionStatus()], [[{ transaction_isolation: 'repeatable read' }], 'T'])
    const seen = second.query(`select text from ${database.schema}.business`)
    await first.query(`insert into ${database.schema}.business values ($1)`, ['one'])
    const { command } = await first.query('commit')
    assert.deepEqual([command, first.getTransactionStatus(), (await seen).rows], ['COMMIT', 'I', [{ text: 'one' }]])
  })

  test('the commit of a failed transaction is answered with ROLLBACK, unless a savepoint took the failure back', async () => {
    await using database = await pgliteSchema(db)
    const client = await database.pool.connect()
    await client.query('begin')
    await client.query(`insert into ${database.schema}.business values ('lost')`)
    await assert.rejects(client.query('select 1 / 0'), { code: '22012' })
    assert.equal(client.getTransactionStatus(), 'E')
    assert.equal((await client.query('commit')).command, 'ROLLBACK')

    await client.query('begin')
    await client.query(`insert into ${database.schema}.business values ('kept')`)
    await client.query('savepoint one')
    await assert.rejects(client.query('select 1 / 0'), { code: '22012' })
    await client.query('rollback to savepoint one')
    assert.equal((await client.query('commit')).command, 'COMMIT')
    assert.deepEqual(await database.query(`select text from ${database.schema}.business`), [{ text: 'kept' }])
  })

  test('a client that is given back in the middle of a transaction loses it, and can do nothing more', async () => {
    await using database = await pgliteSchema(db)
    const client = await database.pool.connect()
    await client.query('begin')
    await client.query(`insert into ${database.schema}.business values ('lost')`)
    client.release()
    assert.deepEqual(await database.query(`select text from ${database.schema}.business`), [])
    await assert.rejects(client.query('select 1'), /released/)
  })

  test('a client that stops to listen leaves the listeners of the program alone', async () => {
    const heard: string[] = []
    const stop = await db.listen('mersal_test', (payload) => void heard.push(payload))
    const client = await pglitePool(db).connect()
    client.on('notification', () => heard.push('client'))
    await client.query('listen "mersal_test"')
    await client.query(`notify mersal_test, 'one'`)
    assert.deepEqual(heard, ['one', 'client'])
    await client.query('unlisten *')
    await client.query(`notify mersal_test, 'two'`)
    assert.deepEqual(heard, ['one', 'client', 'two'])
    await stop()
  })

  test('values are read as pg reads them', async () => {
    const client = await pglitePool(db).connect()
    const { rows, rowCount } = await client.query(`select 9007199254740993::int8 as big, '\\x00ff'::bytea as bytes, $1::text[] as texts`, [
      ['a', 'b'],
    ])
    assert.deepEqual([rows, rowCount], [[{ big: '9007199254740993', bytes: Buffer.from([0, 255]), texts: ['a', 'b'] }], 1])
  })
})
