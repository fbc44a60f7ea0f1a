import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { drizzle as drizzleDatabase } from 'drizzle-orm/node-postgres'
import { sql } from 'drizzle-orm'
import { describe, expect, test } from 'vitest'
import { drizzle } from '../../../../src/sql/sessions/drizzle.ts'
import { event, Mersal } from '../../../../src/index.ts'
import { memoryTransport } from '../../../../src/memory.ts'
import { postgres } from '../../../../src/postgres.ts'
import { type CuttingProxy, cuttingProxy } from '../../../postgres/cutting-proxy.ts'
import {
  serverAnswers,
  serverUrl,
  type TestDatabase,
  testDatabase,
} from '../../../postgres/database.ts'

const present = await serverAnswers()
const Placed = event<{ readonly n: number }>('orders.placed')

/** A database behind a proxy that can stand still. */
async function place(): Promise<
  AsyncDisposable & {
    readonly database: TestDatabase
    readonly proxy: CuttingProxy
    readonly url: string
  }
> {
  const database = await testDatabase()
  const { hostname, port } = new URL(serverUrl)
  const proxy = await cuttingProxy(hostname, Number(port || 5432))
  const url = new URL(serverUrl)
  url.port = String(proxy.port)
  return {
    database,
    proxy,
    url: url.href,
    async [Symbol.asyncDispose]() {
      await proxy[Symbol.asyncDispose]()
      await database[Symbol.asyncDispose]()
    },
  }
}

/** What the promise rejects with; fails if it takes until the server would be given up anyway. */
async function refusal(promise: Promise<unknown>): Promise<unknown> {
  const late = new Promise((resolve) => setTimeout(resolve, 8000, 'still waiting').unref())
  return Promise.race([
    promise.then(
      () => 'resolved',
      (error: unknown) => error,
    ),
    late,
  ])
}

describe.skipIf(!present)('a server that stands still', () => {
  for (const messages of [0, 1]) {
    test(`P13: transaction() given up during a COMMIT that is not answered says that its end is unknown, ${messages} messages`, async () => {
      await using here = await place()
      const pool = here.database.newPool({ connectionString: here.url })
      await using app = new Mersal({
        name: 'frozen',
        store: postgres({ pool, relayPool: here.database.pool, schema: here.database.schema }),
        transport: memoryTransport(),
        outbox: { runRelay: false },
      })
      await app.start()
      const giveUp = new AbortController()
      const work = app.transaction(
        async (tx, { publish }) => {
          await tx.query('select 1')
          for (let n = 0; n < messages; n++) await publish(Placed, { n })
          here.proxy.freezeAt('commit')
          setTimeout(() => giveUp.abort(new Error('enough')), 50)
        },
        { signal: giveUp.signal },
      )
      expect(await refusal(work)).toMatchObject({ code: 'MERSAL_COMMIT_UNKNOWN' })
      expect(pool.totalCount).toBe(0)
    })
  }

  test('P13: the same through a library that commits by itself', async () => {
    await using here = await place()
    const pool = here.database.newPool({ connectionString: here.url })
    const db = drizzleDatabase({ client: pool })
    await using app = new Mersal({
      name: 'frozen',
      store: postgres({
        pool,
        relayPool: here.database.pool,
        schema: here.database.schema,
        session: drizzle(db, { sql }),
      }),
      transport: memoryTransport(),
      outbox: { runRelay: false },
    })
    await app.start()
    const giveUp = new AbortController()
    const work = app.transaction(
      async (tx) => {
        await tx.execute(sql`select 1`)
        here.proxy.freezeAt('commit')
        setTimeout(() => giveUp.abort(new Error('enough')), 50)
      },
      { signal: giveUp.signal },
    )
    expect(await refusal(work)).toMatchObject({
      code: 'MERSAL_COMMIT_UNKNOWN',
      cause: { message: 'enough' },
    })
  })

  test('transaction() given up while it waits for a connection rejects with the reason, and takes none later', async () => {
    await using here = await place()
    const pool = here.database.newPool({ max: 1 })
    await using app = new Mersal({
      name: 'busy',
      store: postgres({ pool, relayPool: here.database.newPool(), schema: here.database.schema }),
      transport: memoryTransport(),
      outbox: { runRelay: false },
    })
    await app.start()
    const taken = await pool.connect()
    const giveUp = new AbortController()
    let ran = false
    const work = app.transaction(async () => void (ran = true), { signal: giveUp.signal })
    giveUp.abort(new Error('enough'))
    expect(await refusal(work)).toMatchObject({ message: 'enough' })
    taken.release()
    await pool.query('select 1')
    expect({ ran, waiting: pool.waitingCount, idle: pool.idleCount }).toEqual({
      ran: false,
      waiting: 0,
      idle: 1,
    })
  })

  for (const [moment, freeze] of [
    ['before it answers the start', true],
    ['once the app runs', false],
  ] as const) {
    test(`P11: SIGTERM to a service whose server stands still ${moment} ends it with 0, by itself`, async () => {
      await using here = await place()
      if (freeze) here.proxy.freezeAll()
      const child = spawn(process.execPath, [join(import.meta.dirname, 'program.ts')], {
        env: { ...process.env, PROGRAM_DATABASE: here.url, PROGRAM_SCHEMA: here.database.schema },
        stdio: ['ignore', 'pipe', 'pipe'],
      })
      const lines: string[] = []
      for (const stream of [child.stdout, child.stderr])
        createInterface({ input: stream }).on('line', (line) => lines.push(line))
      const ended = once(child, 'exit') as Promise<[number | null, string | null]>
      await expect
        .poll(() => here.proxy.accepted, { timeout: 20_000 })
        .toBeGreaterThan(freeze ? 0 : 1)
      if (!freeze) {
        await expect
          .poll(
            () =>
              here.database.query('select 1 from pg_stat_activity where query ilike $1', [
                '%listen%',
              ]),
            { timeout: 20_000 },
          )
          .not.toEqual([])
        here.proxy.freezeAll()
      }
      const began = performance.now()
      child.kill('SIGTERM')
      expect(
        await Promise.race([
          ended,
          new Promise((resolve) => setTimeout(resolve, 20_000, 'still there').unref()),
        ]),
      ).toEqual([0, null])
      // Docker kills after ten seconds.
      expect(performance.now() - began).toBeLessThan(10_000)
      expect(lines).toContain('stopped with 0')
      expect(lines.filter((line) => line.includes('MERSAL_APP_STOPPED'))).toEqual([])
    })
  }
})
