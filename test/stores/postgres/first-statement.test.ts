import { Client, type PoolClient, Query } from 'pg'
import { describe, expect, test } from 'vitest'
import { Mersal, event } from '../../../src/index.ts'
import { memoryTransport } from '../../../src/memory.ts'
import type { PostgresClient } from '../../../src/postgres.ts'
import { openWithFirst } from '../../../src/sql/postgres/unit/opening.ts'
import { statement } from '../../../src/sql/postgres/unit/flight/wire.ts'
import type { JoiningClient } from '../../../src/sql/postgres/unit/flight/client.ts'
import { serverAnswers } from '../../postgres/database.ts'
import { labels } from '../../postgres/messages.ts'
import { type StoreHarness, storeHarness } from '../../postgres/store-harness.ts'

const present = await serverAnswers()
const Placed = event<{ readonly order: number }>('orders.placed')

async function openStore(harness: StoreHarness, pipeline: boolean, max = 1) {
  const pool = harness.database.newPool({ pipeline, max })
  const store = await harness.open({ pool, relayPool: harness.database.newPool() })
  return { pool, store, table: `${harness.database.schema}.business` }
}

const texts = async (harness: StoreHarness): Promise<unknown[]> =>
  (
    await harness.database.query(
      `select text from ${harness.database.schema}.business order by text`,
    )
  ).map((row) => row['text'])

const code = (error: unknown): unknown => (error as { code?: unknown }).code

describe.skipIf(!present).each([false, true])(
  'BEGIN in the flight of the first statement, pipeline: %s',
  (pipeline) => {
    test('P1: when BEGIN fails, neither the first statement nor any other one runs', async () => {
      await using harness = await storeHarness()
      const { pool, table } = await openStore(harness, pipeline)
      const client: PoolClient = await pool.connect()
      const opening = openWithFirst(
        client as unknown as JoiningClient,
        statement('begin isolation level nonsense', { named: false }),
      )
      const insert = (text: string) => client.query(`insert into ${table} values ($1)`, [text])
      const simple = client.query(`insert into ${table} values ('simple')`)
      const together = await Promise.allSettled([simple, insert('beside it')])
      const later = await Promise.allSettled([insert('later')])
      expect(
        [...together, ...later].map(
          (result) => result.status === 'rejected' && code(result.reason),
        ),
      ).toEqual(['42601', '42601', '42601'])
      expect(opening.state).toBe('failed')
      opening[Symbol.dispose]()
      client.release(true)
      expect(await texts(harness)).toEqual([])
    })

    test('P1: what came while BEGIN was on its way is rolled back with the rest when the work fails', async () => {
      await using harness = await storeHarness()
      const { store, table } = await openStore(harness, pipeline)
      const settled: Promise<unknown>[] = []
      const unit = store.unitOfWork((tx) => {
        for (const text of ['one', 'two', 'three'])
          settled.push(tx.query(`insert into ${table} values ($1)`, [text]).catch(code))
        return Promise.reject(new Error('the work fails'))
      })
      await expect(unit).rejects.toThrow('the work fails')
      await Promise.all(settled)
      expect(await texts(harness)).toEqual([])
    })

    test('statements that are sent together run in their order', async () => {
      await using harness = await storeHarness()
      const { store, table } = await openStore(harness, pipeline)
      await store.unitOfWork((tx) =>
        Promise.all([
          tx.query(`insert into ${table} values ($1)`, ['one']),
          tx.query(`update ${table} set text = 'two' where text = $1`, ['one']),
          tx.query(`update ${table} set text = 'three' where text = $1`, ['two']),
        ]),
      )
      expect(await texts(harness)).toEqual(['three'])
    })

    test('a first statement that fails is the error of the unit, and its connection is used again', async () => {
      await using harness = await storeHarness()
      const { pool, store, table } = await openStore(harness, pipeline)
      const pid = async (tx: PostgresClient): Promise<unknown> =>
        (await tx.query('select pg_backend_pid() as pid')).rows[0]?.['pid']
      const before = await store.unitOfWork(pid)
      await expect(
        store.unitOfWork((tx) => tx.query(`insert into ${table} values (1 / $1::int)`, [0])),
      ).rejects.toMatchObject({
        code: '22012',
      })
      expect(await store.unitOfWork(pid)).toBe(before)
      expect(pool.totalCount).toBe(1)
      expect(await texts(harness)).toEqual([])
    })

    test('P13: a first statement whose error was caught makes the unit fail', async () => {
      await using harness = await storeHarness()
      const { store } = await openStore(harness, pipeline)
      const unit = store.unitOfWork((tx) => tx.query('select 1 / 0').catch(() => 'caught'))
      await expect(unit).rejects.toMatchObject({ code: 'MERSAL_ROLLED_BACK' })
    })

    test('a prepared statement that failed as the first one is prepared again', async () => {
      await using harness = await storeHarness()
      const { store, table } = await openStore(harness, pipeline)
      const count = {
        name: 'count',
        text: `select count(*)::int as count from ${table}_more`,
        values: [],
      }
      const read = (): Promise<unknown> =>
        store.unitOfWork(async (tx) => (await tx.query(count)).rows)
      await expect(read()).rejects.toMatchObject({ code: '42P01' })
      await harness.database.query(`create table ${table}_more ()`)
      expect(await read()).toEqual([{ count: 0 }])
      expect(await read()).toEqual([{ count: 0 }])
    })

    test('a callback and a query object get their answers as ever', async () => {
      await using harness = await storeHarness()
      const { store } = await openStore(harness, pipeline)
      const answers = await store.unitOfWork((given) => {
        const tx = given as unknown as PoolClient
        return Promise.all([
          new Promise((resolve) =>
            tx.query('select $1::int as n', [1], (error, result) => resolve(error ?? result.rows)),
          ),
          new Promise((resolve) =>
            tx.query({ text: 'select 2 as n', rowMode: 'array' }, (error, result) =>
              resolve(error ?? result.rows),
            ),
          ),
        ])
      })
      expect(answers).toEqual([[{ n: 1 }], [[2]]])
      const row = await store.unitOfWork(async (given) => {
        const query = (given as unknown as PoolClient).query(new Query('select 3 as n'))
        return new Promise((resolve, reject) => query.on('row', resolve).on('error', reject))
      })
      expect(row).toEqual({ n: 3 })
    })

    test('the client says that it is in a transaction, so that another app may send within it, even before anything was sent', async () => {
      await using harness = await storeHarness()
      const { store } = await openStore(harness, pipeline)
      await using other = new Mersal<PostgresClient>({
        name: 'other',
        store: await harness.open({ pool: harness.database.newPool() }),
        transport: memoryTransport(),
      })
      await store.unitOfWork(async (tx) => {
        expect(tx.getTransactionStatus()).toBe('T')
        await other.within(tx).publish(Placed, { order: 1 })
      })
      expect(await labels(store)).toHaveLength(1)
      const failed = store.unitOfWork((tx) =>
        other
          .within(tx)
          .publish(Placed, { order: 2 })
          .then(() => Promise.reject(new Error('no'))),
      )
      await expect(failed).rejects.toThrow('no')
      expect(await labels(store)).toHaveLength(0)
    })

    test('P1: a client that asks something of its own before each statement has both in the transaction', async () => {
      await using harness = await storeHarness()
      // As those do that set the tenant for row-level security.
      class Asking extends Client {
        override query(...given: unknown[]): never {
          const send = (): unknown => (super.query as (...all: unknown[]) => unknown)(...given)
          const [first] = given
          const text = typeof first === 'string' ? first : (first as { text?: string }).text
          if (text?.startsWith('insert') !== true) return send() as never
          return Promise.resolve()
            .then(() => this.query("select set_config('application_name', 'tenant', true)"))
            .then(send) as never
        }
      }
      const pool = harness.database.newPool({ pipeline, max: 1, Client: Asking })
      const store = await harness.open({ pool, relayPool: harness.database.newPool() })
      const table = `${harness.database.schema}.business`
      const insert = (tx: PostgresClient, text: string) =>
        tx.query(`insert into ${table} values ($1 || current_setting('application_name'))`, [text])
      await store.unitOfWork((tx) => insert(tx, 'kept by '))
      const failing = store.unitOfWork(async (tx) => {
        await insert(tx, 'lost by ')
        throw new Error('no')
      })
      await expect(failing).rejects.toThrow('no')
      expect(await texts(harness)).toEqual(['kept by tenant'])
    })

    test('P3: a statement that a wrapped client sends after the unit has ended does not run', async () => {
      await using harness = await storeHarness()
      const gate = Promise.withResolvers<void>()
      class Late extends Client {
        override query(...given: unknown[]): never {
          const send = (): unknown => (super.query as (...all: unknown[]) => unknown)(...given)
          const [first] = given
          const text = typeof first === 'string' ? first : (first as { text?: string }).text
          return (text?.startsWith('insert') === true ? gate.promise.then(send) : send()) as never
        }
      }
      const store = await harness.open({
        pool: harness.database.newPool({ pipeline, max: 1, Client: Late }),
        relayPool: harness.database.newPool(),
      })
      const { promise: late, resolve } = Promise.withResolvers<unknown>()
      await store.unitOfWork((tx) => {
        tx.query(`insert into ${harness.database.schema}.business values ($1)`, ['late']).then(
          resolve,
          (error) => resolve(code(error)),
        )
        return Promise.resolve()
      })
      gate.resolve()
      expect(await late).toBe('MERSAL_UNIT_ENDED')
      expect(await texts(harness)).toEqual([])
    })

    test('the client is given back free: every call reaches its class, also one that was changed meanwhile', async () => {
      await using harness = await storeHarness()
      const seen: unknown[] = []
      class Own extends Client {}
      const pool = harness.database.newPool({ pipeline, max: 1, Client: Own })
      const store = await harness.open({ pool, relayPool: harness.database.newPool() })
      const listeners = async (): Promise<number> => {
        const client = await pool.connect()
        client.release()
        return client.listenerCount('error')
      }
      const before = await listeners()
      await store.unitOfWork(() => Promise.resolve())
      await store.unitOfWork((tx) => tx.query('select 1'))
      await expect(store.unitOfWork((tx) => tx.query('select 1 / 0'))).rejects.toThrow()
      const { query } = Client.prototype as unknown as { query: (...given: unknown[]) => unknown }
      Object.assign(Own.prototype, {
        query(this: unknown, ...given: unknown[]) {
          seen.push(given.length)
          return query.apply(this, given)
        },
      })
      const client = await pool.connect()
      expect(client.getTransactionStatus()).toBe('I')
      expect((await client.query('select $1::int as n', [1])).rows).toEqual([{ n: 1 }])
      const called = new Promise((resolve) =>
        client.query('select 2 as n', (_error, { rows }) => resolve(rows)),
      )
      expect(await called).toEqual([{ n: 2 }])
      await client.query('begin')
      expect(client.getTransactionStatus()).toBe('T')
      await client.query('rollback')
      client.release()
      expect(seen).toEqual([2, 2, 1, 1])
      expect(await listeners()).toBe(before)
    })

    test('what others put around the client afterwards is passed as well, and may be taken off again', async () => {
      await using harness = await storeHarness()
      const { pool, store, table } = await openStore(harness, pipeline)
      const seen: string[] = []
      const onRelease = (_error: unknown, client: object): void => {
        const wrapped = wrappers.get(client)
        if (wrapped !== undefined) Object.assign(client, { query: wrapped })
      }
      const wrappers = new Map<object, unknown>()
      pool.on('acquire', (client) => {
        const { query } = client as unknown as { query: (...given: unknown[]) => unknown }
        wrappers.set(client, query)
        Object.assign(client, {
          query: (...given: unknown[]) => {
            const [first] = given
            seen.push(typeof first === 'string' ? first : (first as { text: string }).text)
            return query.apply(client, given)
          },
        })
      })
      pool.on('release', onRelease)
      for (const text of ['one', 'two', 'three'])
        await store.unitOfWork((tx) => tx.query(`insert into ${table} values ($1)`, [text]))
      expect(await texts(harness)).toEqual(['one', 'three', 'two'])
      expect(seen).toEqual(
        ['one', 'two', 'three'].flatMap(() => [`insert into ${table} values ($1)`, 'commit']),
      )
    })
  },
)

/** Reads row by row through a portal that stays open, as a cursor or a stream does. */
class Cursor {
  readonly rows: unknown[] = []
  readonly done: PromiseWithResolvers<unknown[]> = Promise.withResolvers()
  readonly text: string
  #failed = false

  constructor(text: string) {
    this.text = text
  }

  submit(wire: Wire): void {
    wire.parse({ text: this.text })
    wire.bind({})
    wire.describe({ type: 'P' })
    wire.flush()
  }

  handleRowDescription(): void {
    this.wire?.execute({ rows: 1 })
    this.wire?.flush()
  }

  wire: Wire | undefined

  handleDataRow({ fields }: { fields: unknown[] }): void {
    this.rows.push(fields[0])
  }

  handlePortalSuspended(wire: Wire): void {
    wire.execute({ rows: 1 })
    wire.flush()
  }

  handleCommandComplete(_message: unknown, wire: Wire): void {
    wire.sync()
  }

  handleError(error: Error, wire: Wire): void {
    if (!this.#failed) wire.sync()
    this.#failed = true
    this.done.reject(error)
  }

  handleReadyForQuery(): void {
    this.done.resolve(this.rows)
  }
}

interface Wire {
  parse(statement: { text: string }): void
  bind(portal: object): void
  describe(portal: { type: 'P' }): void
  execute(portal: { rows: number }): void
  flush(): void
  sync(): void
}

function cursor(client: PostgresClient, text: string): Promise<unknown[]> {
  const given = new Cursor(text)
  given.wire = (client as unknown as { connection: Wire }).connection
  ;(client.query as unknown as (submittable: Cursor) => unknown)(given)
  return given.done.promise
}

describe.skipIf(!present)(
  'the first statement of a unit may be whatever a client of pg takes',
  () => {
    test('a cursor: it reads inside the transaction, and what follows is committed', async () => {
      await using harness = await storeHarness()
      const { store, table } = await openStore(harness, false)
      await store.unitOfWork(async (tx) => {
        expect(await cursor(tx, 'select n::text from generate_series(1, 3) n')).toEqual([
          '1',
          '2',
          '3',
        ])
        expect(tx.getTransactionStatus()).toBe('T')
        await tx.query(`insert into ${table} values ('kept')`)
      })
      expect(await texts(harness)).toEqual(['kept'])
    })

    test('a cursor that fails, and work that fails after a cursor: all is rolled back, and the connection serves on', async () => {
      await using harness = await storeHarness()
      const { store, table } = await openStore(harness, false)
      await expect(store.unitOfWork((tx) => cursor(tx, 'select 1 / 0'))).rejects.toMatchObject({
        code: '22012',
      })
      const unit = store.unitOfWork(async (tx) => {
        await cursor(tx, 'select 1')
        await tx.query(`insert into ${table} values ('dropped')`)
        throw new Error('the work fails')
      })
      await expect(unit).rejects.toThrow('the work fails')
      await store.unitOfWork((tx) => tx.query(`insert into ${table} values ('kept')`))
      expect(await texts(harness)).toEqual(['kept'])
    })

    test('a cursor in pipeline mode is refused by pg itself, and the unit fails', async () => {
      await using harness = await storeHarness()
      const { store, table } = await openStore(harness, true)
      await expect(store.unitOfWork((tx) => cursor(tx, 'select 1'))).rejects.toThrow('pipeline')
      await store.unitOfWork((tx) => tx.query(`insert into ${table} values ('kept')`))
      expect(await texts(harness)).toEqual(['kept'])
    })

    test('a query in pieces, one with a callback, a prepared one, one of several statements', async () => {
      await using harness = await storeHarness()
      const { store, table } = await openStore(harness, false)
      const ways: readonly ((tx: PostgresClient) => Promise<unknown>)[] = [
        (tx) =>
          tx.query({ text: 'select n from generate_series(1, 5) n', values: [], rows: 2 } as never),
        (tx) =>
          new Promise((resolve, reject) => {
            const query = tx.query.bind(tx) as unknown as (
              text: string,
              done: (error: Error | null, result: unknown) => void,
            ) => void
            query('select 1', (error, result) => (error ? reject(error) : resolve(result)))
          }),
        (tx) => tx.query({ name: 'first', text: 'select $1::int', values: [1] }),
        (tx) => tx.query('select 1; select 2'),
        (tx) => (tx.query as unknown as (query: Query) => Promise<unknown>)(new Query('select 1')),
      ]
      for (const [index, first] of ways.entries()) {
        await store.unitOfWork(async (tx) => {
          void first(tx)
          await tx.query(`insert into ${table} values ($1)`, [String(index)])
        })
      }
      expect(await texts(harness)).toEqual(['0', '1', '2', '3', '4'])
    })
  },
)
