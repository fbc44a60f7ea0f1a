import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { PGlite, type Transaction } from '@electric-sql/pglite'
import { afterAll, beforeAll, describe, test, vi } from 'vitest'
import { command, Mersal } from '../../src/index.ts'
import { memoryTransport } from '../../src/memory.ts'
import { pglite, pglitePool } from '../../src/pglite.ts'
import {
  postgres,
  type PostgresClient,
  type PostgresOptions,
  type PostgresPool,
  type PostgresPoolClient,
  type PostgresStore,
} from '../../src/postgres.ts'
import {
  type ContractCase,
  operationsContract,
  outboxContract,
  outboxRetentionContract,
  type RetentionHarness,
  savepointContract,
  trackerContract,
} from '../../src/testing/index.ts'
import { unnamedBound } from '../../src/testing/outbox/byte-cases.ts'
import { plainSavepoint } from '../postgres/plain-savepoint.ts'
import { pgliteSchema } from '../postgres/pglite.ts'
import { sessionScenarios } from '../postgres/session-suite.ts'
import { wakerCases } from './store-suite.ts'

// A MiB takes PGlite a second, in and out. The statements are those of PostgreSQL, where 32 MiB are
// claimed.
vi.mock('../../src/core/messages/bytes.ts', async (original) => ({
  ...(await original<object>()),
  CLAIM_BYTES: 1024 * 1024,
}))
const usual = unnamedBound(32).name

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
      insert: async (tx: Transaction, text: string) =>
        void (await tx.query(`insert into ${database.schema}.business values ($1)`, [text])),
      savepoint: (tx: Transaction, work: (inner: Transaction) => Promise<void>) =>
        plainSavepoint(
          (text) => tx.exec(text),
          () => work(tx),
        ),
      fail: async (tx: Transaction) => void (await tx.query('select 1 / 0')),
      end: async (tx: Transaction, text: string) => void (await tx.exec(text)),
      endingCalls: [
        (tx: Transaction) => tx.rollback(),
        (tx: Transaction) => tx.sql`commit`,
        (tx: Transaction) => tx.query('commit'),
      ],
      harmless: async (tx: Transaction) => void (await tx.sql`select ${'x; commit'}::text`),
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
  const open = async (
    options: Partial<PostgresOptions> = {},
  ): Promise<PostgresStore<PostgresClient>> => {
    const pool = pglitePool(db)
    const store = postgres({ pool, relayPool: pool, schema, ...options })
    await store.open()
    return store
  }
  return {
    open,
    openKeeping: (keepSentMs) => open({ keepSentMs }),
    write: async (tx, text) =>
      void (await tx.query(`insert into ${schema}.business values ($1)`, [text])),
    read: async () =>
      (await database.query(`select text from ${schema}.business`)).map((row) =>
        String(row['text']),
      ),
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

const cases = outboxContract.map((item) => (item.name === usual ? unnamedBound(1) : item))
test('the case of the usual bound is replaced by one of a smaller bound', () => {
  assert.equal(cases.filter((item, index) => item !== outboxContract[index]).length, 1)
})
run('outbox', [...cases, ...outboxRetentionContract])
// PGlite runs with `fsync` off, which is a fault of a server and is found as one.
const inOrder = 'examine: of a database that is in order it finds no fault'
run(
  'operations',
  operationsContract.filter(({ name }) => name !== inOrder),
)
test('the only fault of PGlite is that it does not wait for the disk', async () => {
  await using here = await harness()
  await using store = await here.open()
  const findings = (await store.operations?.examine?.()) ?? []
  assert.deepEqual(
    findings.filter(({ level }) => level === 'fault').map(({ subject }) => subject),
    ['postgres durability'],
  )
})
run('savepoints', savepointContract)
run('tracker', trackerContract)

run('waker', wakerCases)

test('an app on PGlite relays what a transaction sent, and handles it in the transactions of the library', async () => {
  await using database = await pgliteSchema(db)
  const { pool, relayPool, schema, query } = database
  const Place = command<{ text: string }>('orders.place')
  const store = postgres({ pool, relayPool, schema, session: pglite<Transaction>(db) })
  const app = new Mersal<Transaction>({
    name: 'shop',
    store,
    transport: memoryTransport(),
    logger: false,
  })
  const handled = Promise.withResolvers<void>()
  app.handle(Place, async ({ text }, { tx }) => {
    await tx.query(`insert into ${schema}.business values ($1)`, [text])
    handled.resolve()
  })
  await app.start()
  await db.transaction((tx) => app.within(tx).sendLocal(Place, { text: 'one' }))
  await handled.promise
  await app.stop()
  assert.deepEqual(await query(`select text from ${schema}.business`), [{ text: 'one' }])
  assert.deepEqual(await query(`select count(*)::int4 as waiting from ${schema}.outbox`), [
    { waiting: 0 },
  ])
})

/** Given back in any case, since a client in a transaction would keep the other tests waiting. */
async function borrow(pool: PostgresPool): Promise<PostgresPoolClient & Disposable> {
  const client = await pool.connect()
  return Object.assign(client, { [Symbol.dispose]: () => client.release() })
}

describe('a pool over PGlite', () => {
  test('a client that began a transaction keeps the others waiting until it commits', async () => {
    await using database = await pgliteSchema(db)
    using first = await borrow(database.pool)
    using second = await borrow(database.pool)
    await first.query('begin isolation level repeatable read')
    const { rows } = await first.query('show transaction_isolation')
    assert.deepEqual(
      [rows, first.getTransactionStatus()],
      [[{ transaction_isolation: 'repeatable read' }], 'T'],
    )
    const seen = second.query(`select text from ${database.schema}.business`)
    await first.query(`insert into ${database.schema}.business values ($1)`, ['one'])
    const { command } = await first.query('commit')
    assert.deepEqual(
      [command, first.getTransactionStatus(), (await seen).rows],
      ['COMMIT', 'I', [{ text: 'one' }]],
    )
  })

  test('the commit of a failed transaction is answered with ROLLBACK, unless a savepoint took the failure back', async () => {
    await using database = await pgliteSchema(db)
    using client = await borrow(database.pool)
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
    assert.deepEqual(await database.query(`select text from ${database.schema}.business`), [
      { text: 'kept' },
    ])
  })

  test('a client that is given back in the middle of a transaction loses it, and can do nothing more', async () => {
    await using database = await pgliteSchema(db)
    using client = await borrow(database.pool)
    await client.query('begin')
    await client.query(`insert into ${database.schema}.business values ('lost')`)
    client.release()
    assert.deepEqual(await database.query(`select text from ${database.schema}.business`), [])
    await assert.rejects(client.query('select 1'), /released/)
  })

  test('a client that stops to listen leaves the listeners of the program alone', async () => {
    const heard: string[] = []
    const stop = await db.listen('mersal_test', (payload) => void heard.push(payload))
    using client = await borrow(pglitePool(db))
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
    using client = await borrow(pglitePool(db))
    const { rows, rowCount } = await client.query(
      `select 9007199254740993::int8 as big, '\\x00ff'::bytea as bytes, $1::text[] as texts`,
      [['a', 'b']],
    )
    assert.deepEqual(
      [rows, rowCount],
      [[{ big: '9007199254740993', bytes: Buffer.from([0, 255]), texts: ['a', 'b'] }], 1],
    )
  })
})
