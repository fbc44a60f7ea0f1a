import { mkdtempSync, rmSync } from 'node:fs'
import { randomBytes } from 'node:crypto'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { Client, Pool } from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Mersal, type Transport, command } from '../../../src/index.ts'
import { postgres, postgresQueue } from '../../../src/postgres.ts'
import { rabbitmq } from '../../../src/rabbitmq.ts'
import { sqlite, sqliteQueue } from '../../../src/sqlite.ts'
import { openProxy } from '../../chaos/proxy.ts'
import { freePort } from '../../postgres/cluster.ts'
import { serverAnswers, serverUrl } from '../../postgres/database.ts'
import { openVhost, rabbitIsHere } from '../../rabbitmq/broker.ts'

const here = (await serverAnswers()) && (await rabbitIsHere())
const Work = command<{ id: number }>('test.work')
/** With these, a failure that is charged makes a dead letter within a second. */
const receive = {
  immediateRetries: 0,
  maxDeliveries: 2,
  backoff: { firstMs: 50, longestMs: 50 },
  concurrency: 5,
  handlerTimeoutMs: 2000,
}
/** Longer than the queue in the same database keeps a message for its holder. */
const OUTAGE_MS = Number(process.env['MERSAL_OUTAGE_MS'] ?? 1500)
const MESSAGES = Number(process.env['MERSAL_OUTAGE_MESSAGES'] ?? 60)

type Level = 'warn' | 'error'

function recorder() {
  const lines: { level: Level; text: string }[] = []
  const at = (level: Level) => (_: object, text: string) => void lines.push({ level, text })
  const pauses = () =>
    lines
      .filter(({ text }) => text.startsWith('the database is'))
      .map(({ text }) => text.split(':')[0])
  return {
    logger: { debug: () => {}, info: () => {}, warn: at('warn'), error: at('error') },
    pauses,
  }
}

async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  ms = 40_000,
): Promise<void> {
  const deadline = performance.now() + ms
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`${what} did not happen within ${ms} ms`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

describe.skipIf(!here)('a PostgreSQL that goes away while messages wait at RabbitMQ', () => {
  const name = `mersal_away_${randomBytes(5).toString('hex')}`
  const admin = new Client({ connectionString: serverUrl })
  let vhost: Awaited<ReturnType<typeof openVhost>>
  let direct: Pool
  const address = new URL(serverUrl)
  address.pathname = `/${name}`

  beforeAll(async () => {
    await admin.connect()
    await admin.query(`create database ${name}`)
    // Not read-only, whatever the database says.
    direct = new Pool({
      connectionString: address.href,
      max: 2,
      options: '-c default_transaction_read_only=off',
    })
    direct.on('error', () => {})
    await direct.query('create table work (id integer primary key)')
    vhost = await openVhost()
  })
  afterAll(async () => {
    await direct.end()
    await admin.query(`drop database ${name} with (force)`)
    await admin.end()
    await vhost[Symbol.asyncDispose]()
  })

  const usual = Number(address.port === '' ? 5432 : address.port)

  async function run(
    transportOf: (pool: Pool) => Transport,
    fault: (proxy: Awaited<ReturnType<typeof openProxy>>) => Promise<() => Promise<void>>,
    batch = 1,
  ) {
    await using proxy = await openProxy(usual)
    await direct.query('truncate work')
    const through = new URL(address.href)
    through.hostname = '127.0.0.1'
    through.port = String(proxy.port)
    const pool = new Pool({ connectionString: through.href, max: 8, connectionTimeoutMillis: 1000 })
    pool.on('error', () => {})
    const { logger, pauses } = recorder()
    const app = `away-${randomBytes(4).toString('hex')}`
    const attempts: number[] = []
    const handled = new Set<number>()
    // At the fault the handlers are in the midst of their transactions, and nothing else is under
    // way.
    const [inHands, fallen] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    let waiting = 0
    const transport = transportOf(pool)
    await using shop = new Mersal({
      name: app,
      store: postgres({ pool, logger, schema: 'mersal' }),
      transport,
      receive,
      logger,
      outbox: { runRelay: false },
    })
    shop.handle(
      Work,
      async ({ id }, { tx, attempt }) => {
        attempts.push(attempt)
        if (handled.size > 5) {
          // Handlers that share a transaction come one after another.
          if (++waiting === (batch === 1 ? receive.concurrency : 1)) inHands.resolve()
          await fallen.promise
        }
        await tx.query('insert into work values ($1)', [id])
        handled.add(id)
      },
      { batch },
    )
    await transport.subscribe(app, [])
    const bodies = Array.from({ length: MESSAGES }, (_, id) => ({ id }))
    const sender = new Mersal({
      name: `${app}-sender`,
      transport: transportOf(direct),
      sendOnly: true,
      routes: { 'test.work': app },
      logger: false,
    })
    for (let start = 0; start < bodies.length; start += 50) {
      await Promise.all(bodies.slice(start, start + 50).map((body) => sender.send(Work, body)))
    }
    await sender.stop()
    await shop.start()
    await inHands.promise
    const heal = await fault(proxy)
    fallen.resolve()
    await until('the pause', () => pauses().length > 0)
    const before = attempts.length
    await pause(OUTAGE_MS)
    expect(attempts.length - before).toBeLessThanOrEqual(receive.concurrency)
    const soFar = handled.size
    await heal()
    const healed = performance.now()
    await until('the first message after it', () => handled.size > soFar)
    const flowingMs = Math.round(performance.now() - healed)
    const committed = async (): Promise<number> =>
      Number(
        (
          await direct
            .query<{ count: string }>('select count(*) from work')
            .catch(() => ({ rows: [] }))
        ).rows[0]?.count,
      )
    await until('all messages', async () => (await committed()) === MESSAGES)
    const allMs = Math.round(performance.now() - healed)
    if (process.env['MERSAL_OUTAGE_MS'] !== undefined)
      process.stderr.write(
        `${MESSAGES} messages, ${OUTAGE_MS} ms away: flowing after ${flowingMs} ms, all handled after ${allMs} ms, calls ${attempts.length}\n`,
      )
    const letters = await (
      transport as Transport & { deadLetters: { list(): Promise<readonly object[]> } }
    ).deadLetters.list()
    await shop.stop()
    await pool.end()
    return { rows: await committed(), letters, attempts, pauses: pauses() }
  }

  const rabbit = () => rabbitmq({ url: vhost.url, logger: false, newQueuePauseMs: 0 })
  const refused = async (proxy: Awaited<ReturnType<typeof openProxy>>) => {
    proxy.leadTo(await freePort())
    proxy.reset()
    return async () => proxy.leadTo(usual)
  }
  const frozen = async (proxy: Awaited<ReturnType<typeof openProxy>>) => {
    proxy.weather({ kind: 'black hole' })
    return async () => proxy.weather({ kind: 'fair' })
  }
  const readOnly = async () => {
    await admin.query(`alter database ${name} set default_transaction_read_only = on`)
    const others = `select pg_terminate_backend(pid) from pg_stat_activity where datname = $1 and pid <> pg_backend_pid()`
    await admin.query(others, [name])
    return async () => {
      await admin.query(`alter database ${name} reset default_transaction_read_only`)
      await admin.query(others, [name])
    }
  }

  for (const [what, fault] of [
    ['refuses connections', refused],
    ['is read-only', readOnly],
  ] as const) {
    test(`that ${what}: every message is handled once it is back, none is charged, none is dead`, {
      timeout: 240_000,
    }, async () => {
      const { rows, letters, attempts, pauses } = await run(rabbit, fault)
      expect({ rows, letters }).toEqual({ rows: MESSAGES, letters: [] })
      expect(Math.max(...attempts)).toBe(1)
      // A termination between two probes may be a second, short outage.
      expect(pauses.slice(0, 2)).toEqual(['the database is away', 'the database is back'])
      expect(pauses.length).toBeLessThanOrEqual(6)
    })
  }

  test('that refuses connections, with handlers that share transactions', {
    timeout: 240_000,
  }, async () => {
    const { rows, letters, attempts } = await run(rabbit, refused, 5)
    expect({ rows, letters }).toEqual({ rows: MESSAGES, letters: [] })
    expect(Math.max(...attempts)).toBe(1)
  })

  test('that stands still with its connections open', { timeout: 240_000 }, async () => {
    const { rows, letters, attempts } = await run(rabbit, frozen)
    expect({ rows, letters }).toEqual({ rows: MESSAGES, letters: [] })
    expect(Math.max(...attempts)).toBe(1)
  })

  test('with the queue in the same database', { timeout: 240_000 }, async () => {
    const queue = (pool: Pool) =>
      postgresQueue({ pool, schema: 'mersal', visibilityMs: 1000, logger: recorder().logger })
    const { rows, letters, attempts } = await run(queue, refused)
    expect({ rows, letters }).toEqual({ rows: MESSAGES, letters: [] })
    expect(Math.max(...attempts)).toBe(1)
  })
})

test('an SQLite file that another process has locked for long charges no message', {
  timeout: 240_000,
}, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'mersal-locked-'))
  try {
    const path = join(folder, 'app.db')
    const { logger, pauses } = recorder()
    const store = sqlite({ path, busyTimeoutMs: 100 })
    const transport = sqliteQueue({
      path,
      busyTimeoutMs: 100,
      visibilityMs: 1000,
      logger: recorder().logger,
    })
    const attempts: number[] = []
    const handled = new Set<number>()
    await using shop = new Mersal({ name: 'shop', store, transport, receive, logger })
    shop.handle(Work, async ({ id }, { attempt }) => {
      attempts.push(attempt)
      handled.add(id)
    })
    await shop.start()
    await shop.transaction(async (_, { sendLocal }) => void (await sendLocal(Work, { id: -1 })))
    await until('the first message', () => handled.size === 1)
    for (let id = 0; id < 20; id++)
      await shop.transaction(
        async (_, { sendLocal }) => void (await sendLocal(Work, { id }, { delayMs: 300 })),
      )
    const other = new DatabaseSync(path)
    other.exec('BEGIN IMMEDIATE')
    // Longer than the queue keeps a message for its holder, and than the messages are delayed.
    await pause(1500)
    other.exec('ROLLBACK')
    other.close()
    await until('all messages', () => handled.size === 21)
    expect(await transport.deadLetters.list()).toEqual([])
    expect(Math.max(...attempts)).toBe(1)
    expect(pauses().length % 2).toBe(0)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
