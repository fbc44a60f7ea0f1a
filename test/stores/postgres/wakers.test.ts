import { describe, expect, test } from 'vitest'
import { silentLogger } from '../../../src/core/telemetry.ts'
import type { PostgresClient } from '../../../src/postgres.ts'
import type { Session } from '../../../src/sql/session.ts'
import { manualClock } from '../../../src/testing/manual-clock.ts'
import { cuttingProxy } from '../../postgres/cutting-proxy.ts'
import { serverAnswers, serverUrl } from '../../postgres/database.ts'
import { message } from '../../postgres/messages.ts'
import { storeHarness } from '../../postgres/store-harness.ts'

interface Socket {
  write(bytes: Buffer | string, ...more: unknown[]): boolean
}

const present = await serverAnswers()

describe.skipIf(!present)('notifications on PostgreSQL', () => {
  test('half-open: a connection that listens and gets no answer any more is replaced, with a catch-up wake', async () => {
    await using harness = await storeHarness()
    const url = new URL(serverUrl)
    await using proxy = await cuttingProxy(url.hostname, Number(url.port || 5432))
    url.port = String(proxy.port)
    await using store = await harness.open({
      relayPool: harness.database.newPool({ connectionString: url.href }),
      heartbeatMs: 200,
      logger: silentLogger,
    })
    const stop = new AbortController()
    let woken = Promise.withResolvers<void>()
    const listening = store.wakers[0]?.(() => woken.resolve(), { signal: stop.signal })
    await woken.promise
    const before = proxy.accepted
    woken = Promise.withResolvers<void>()
    const startedAt = performance.now()
    proxy.freeze()
    await woken.promise
    // Twice the heartbeat, the wait before the next try, and the answers of the server.
    expect(performance.now() - startedAt).toBeLessThan(5000)
    expect(proxy.accepted).toBeGreaterThan(before)
    stop.abort()
    await listening
  })

  test('a burst of commits notifies few times, and a rolled-back unit not at all', async () => {
    await using harness = await storeHarness()
    const clock = manualClock()
    await using store = await harness.open({ clock })
    const listener = await harness.database.pool.connect()
    const heard: unknown[] = []
    listener.on('notification', (notification) => heard.push(notification))
    await listener.query(`listen "${harness.database.schema}_outbox"`)
    await expect(
      store.unitOfWork(async (tx) => {
        await store.outbox.save(tx, [message('gone')])
        throw new Error('rolled back')
      }),
    ).rejects.toThrow('rolled back')
    await listener.query('select 1')
    expect(heard).toEqual([])
    await Promise.all(
      Array.from({ length: 50 }, (_, index) =>
        store.unitOfWork((tx) => store.outbox.save(tx, [message(`${index}`)])),
      ),
    )
    while (heard.length === 0) await listener.query('select 1')
    // Fifteen may ring one by one; the others have one ring in common, when the time has passed.
    expect(heard.length).toBeLessThanOrEqual(16)
    await clock.advance(10)
    await listener.query('select 1')
    expect(heard.length).toBeLessThanOrEqual(17)
    await listener.query('unlisten *')
    listener.release()
  })

  test('rows of a transaction that is not ours notify soon after, though its commit is not seen', async () => {
    await using harness = await storeHarness()
    await using store = await harness.open()
    const { pool, schema } = harness.database
    const [listener, writer] = [await pool.connect(), await pool.connect()]
    const heard: unknown[] = []
    listener.on('notification', (notification) => heard.push(notification))
    await listener.query(`listen "${schema}_outbox"`)
    await writer.query('begin')
    await store.outbox.save(writer, [message('one')])
    await writer.query('commit')
    const notifiedBeforeCommit = heard.length
    while (heard.length === notifiedBeforeCommit) await listener.query('select 1')
    await listener.query('unlisten *')
    for (const client of [listener, writer]) client.release()
  })

  test('after a unit was run again on another connection, foreign transactions on the first one notify as others do', async () => {
    await using harness = await storeHarness()
    const { pool, schema } = harness.database
    const [first, second, listener] = [
      await pool.connect(),
      await pool.connect(),
      await pool.connect(),
    ]
    const session: Session<PostgresClient> = {
      name: 'two connections',
      executor: (tx) => ({ query: (text, values = []) => tx.query(text, [...values]) }),
      unitOfWork: async (work) => {
        await work(first).catch(() => {})
        return await work(second, 'after rollback')
      },
    }
    await using store = await harness.open({ session })
    let runs = 0
    await store.unitOfWork(() =>
      ++runs === 1 ? Promise.reject(new Error('a conflict')) : Promise.resolve(),
    )
    const heard: unknown[] = []
    listener.on('notification', (notification) => heard.push(notification))
    await listener.query(`listen "${schema}_outbox"`)
    await first.query('begin')
    await store.outbox.save(first, [message('one')])
    await first.query('commit')
    while (heard.length === 0) await listener.query('select 1')
    expect(runs).toBe(2)
    await listener.query('unlisten *')
    for (const client of [first, second, listener]) client.release()
  })

  test('a unit notifies on its own connection, in the flight of its commit and behind it', async () => {
    await using harness = await storeHarness()
    const { pool, schema } = harness.database
    await using store = await harness.open({ pool })
    const listener = await pool.connect()
    const heard: { readonly processId: number }[] = []
    listener.on('notification', (notification) => heard.push(notification))
    await listener.query(`listen "${schema}_outbox"`)
    let pid = 0
    await store.unitOfWork(async (tx) => {
      pid = Number((await tx.query('select pg_backend_pid() as pid')).rows[0]?.['pid'])
      expect(store.outbox.saveLast?.(tx, [message('one')])).toBeDefined()
    })
    while (heard.length === 0) await listener.query('select 1')
    expect(heard.map(({ processId }) => processId)).toEqual([pid])
    await listener.query('unlisten *')
    listener.release()
  })

  test.each([false, true])(
    'P13: a notification that fails behind the commit fails nothing, and the connection serves on (pipeline: %s)',
    async (pipeline) => {
      await using harness = await storeHarness()
      const { schema } = harness.database
      const pool = harness.database.newPool({ connectionString: serverUrl, pipeline })
      let wrong = 0
      pool.on('connect', (client) => {
        const { stream } = (client as unknown as { connection: { stream: Socket } }).connection
        const write = stream.write.bind(stream)
        stream.write = (bytes, ...more) => {
          const at = Buffer.from(bytes).indexOf('pg_notify')
          if (at < 0) return write(bytes, ...more)
          wrong++
          const changed = Buffer.from(bytes)
          changed.write('no_notify', at)
          return write(changed, ...more)
        }
      })
      await using store = await harness.open({ pool, relayPool: harness.database.newPool() })
      for (const text of ['one', 'two']) {
        let own: Promise<unknown> | undefined
        await store.unitOfWork((tx) => {
          own = tx.query(`insert into ${schema}.business values ($1) returning text`, [text])
          store.outbox.saveLast?.(tx, [message(text)])
          return Promise.resolve()
        })
        expect(await own).toMatchObject({ rows: [{ text }] })
      }
      expect(wrong).toBe(2)
      expect(pool.totalCount).toBe(1)
      expect(await harness.read()).toEqual(['one', 'two'])
      expect((await store.admin.stats()).pending).toBe(2)
    },
  )

  test('the business transaction itself holds no notification', async () => {
    await using harness = await storeHarness()
    await using store = await harness.open()
    const { schema, query } = harness.database
    const functions = await query(
      `select prosrc from pg_proc where pronamespace = '${schema}'::regnamespace`,
    )
    expect(functions.length).toBeGreaterThan(8)
    for (const { prosrc } of functions) expect(String(prosrc)).not.toMatch(/notify/i)
    expect(
      await query(
        `select 1 from pg_trigger t join pg_class c on c.oid = t.tgrelid where c.relnamespace = '${schema}'::regnamespace`,
      ),
    ).toEqual([])
    await store.open()
  })
})
