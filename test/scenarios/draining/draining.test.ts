import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, test } from 'vitest'
import type { Drained } from '../../../src/index.ts'
import { temporaryFolder } from '../../contract/sqlite-harness.ts'
import { serverAnswers as mysqlAnswers, testDatabase as mysqlDatabase } from '../../mysql/server.ts'
import { serverAnswers, serverUrl, testDatabase } from '../../postgres/database.ts'
import { rabbitIsHere } from '../../rabbitmq/broker.ts'
import { plainClient } from '../../rabbitmq/plain-client.ts'
import { withVhost } from '../../rabbitmq/with-vhost.ts'
import { appOf, type Plan, points, QUEUE, storeOf, transportOf, Work } from './process.ts'

const rabbit = await rabbitIsHere()
const vhost = withVhost(rabbit)

type Bounds = Plan['bounds']

interface Place extends AsyncDisposable {
  readonly plan: Pick<Plan, 'database' | 'broker'>
  /** The bodies in the queue, in their order, read without anything of ours. */
  readonly arrived: () => Promise<readonly Body[]>
}

interface Body {
  readonly key: string
  readonly number: number
}

const bodyOf = (bytes: Uint8Array): Body => JSON.parse(Buffer.from(bytes).toString()) as Body

async function onRabbit(
  database: Plan['database'],
  dispose: () => PromiseLike<void>,
): Promise<Place> {
  const plain = await plainClient(vhost.url)
  return {
    plan: { database, broker: { amqp: vhost.url } },
    arrived: async () => (await plain.drain(QUEUE)).map(({ content }) => bodyOf(content)),
    async [Symbol.asyncDispose]() {
      await plain.channel.deleteQueue(QUEUE)
      await plain[Symbol.asyncDispose]()
      await dispose()
    },
  }
}

const places: Readonly<Record<string, () => Promise<Place>>> = {
  'SQLite, its queue': () => {
    const folder = temporaryFolder()
    const broker = folder.file('broker.db')
    return Promise.resolve({
      plan: {
        database: { kind: 'sqlite', path: folder.file('shop.db') },
        broker: { path: broker },
      },
      arrived() {
        using reader = disposable(new DatabaseSync(broker))
        const rows = reader.all('SELECT body FROM mersal_queue_messages ORDER BY position')
        return Promise.resolve(rows.map(({ body }) => bodyOf(body as Uint8Array)))
      },
      [Symbol.asyncDispose]: async () => folder[Symbol.dispose](),
    })
  },
  ...(rabbit && (await serverAnswers())
    ? {
        'PostgreSQL, RabbitMQ': async () => {
          const { schema, ...database } = await testDatabase()
          return onRabbit({ kind: 'postgres', url: serverUrl, schema }, () =>
            database[Symbol.asyncDispose](),
          )
        },
      }
    : {}),
  ...(rabbit && (await mysqlAnswers())
    ? {
        'MariaDB, RabbitMQ': async () => {
          const { url, ...database } = await mysqlDatabase()
          return onRabbit({ kind: 'mysql', url }, () => database[Symbol.asyncDispose]())
        },
      }
    : {}),
}

function disposable(database: DatabaseSync) {
  return {
    all: (sql: string) => database.prepare(sql).all(),
    [Symbol.dispose]: () => database.close(),
  }
}

/** A process that drains once. Undefined: it was killed. */
async function drainIn(
  place: Place,
  bounds: Bounds,
  kill?: Plan['kill'],
): Promise<Drained | undefined> {
  const plan: Plan = { ...place.plan, bounds, ...(kill === undefined ? {} : { kill }) }
  const child = spawn(process.execPath, [join(import.meta.dirname, 'process.ts')], {
    env: { ...process.env, PLAN: JSON.stringify(plan) },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const output = text(child.stdout)
  const [code, signal] = (await once(child, 'exit')) as [number | null, string | null]
  if (signal !== null) return undefined
  expect(code).toBe(0)
  return JSON.parse(await output) as Drained
}

const KEYS = ['a', 'b', 'c']
const EACH = 10

/** Writes through an app of its own, whose relay runs if `relay`, and leaves it open. */
async function writer({ plan }: Place, relay: boolean) {
  const transport = transportOf(plan)
  await transport.subscribe(QUEUE, [])
  const app = appOf(storeOf(plan), transport, relay)
  if (relay) await app.start()
  const write = async () => {
    for (let number = 0; number < EACH; number++)
      await app.transaction(async (_tx, { send }) => {
        for (const key of KEYS) await send(Work, { key, number }, { partitionKey: key })
        await send(Work, { key: '', number })
      })
  }
  return { app, write }
}

const ALL = EACH * (KEYS.length + 1)
const numbers = Array.from({ length: EACH }, (_, number) => number)

/** The first arrival of each message of a key, in their order. */
const firsts = (all: readonly Body[], key: string): readonly number[] => [
  ...new Set(all.filter((body) => body.key === key).map(({ number }) => number)),
]

describe.each(Object.entries(places))('draining on %s', (_, open) => {
  test('P2 P5 P6: calls one after the other publish each message once, in the order of its key, within their bounds', async () => {
    await using place = await open()
    const { app, write } = await writer(place, false)
    await using _app = app
    await write()
    const calls: Drained[] = []
    for (let more = true; more; ) {
      const result = await drainIn(place, { maxMessages: 15, deadlineMs: 60_000 })
      if (result === undefined) throw new Error('nobody kills this process')
      calls.push(result)
      more = result.more
    }
    expect(calls.map(({ published }) => published)).toEqual([15, 15, 10])
    const arrived = await place.arrived()
    expect(arrived).toHaveLength(ALL)
    for (const key of KEYS) expect(firsts(arrived, key)).toEqual(numbers)
    expect(firsts(arrived, '').toSorted((a, b) => a - b)).toEqual(numbers)
  })

  test('P2 P5 P6: calls beside each other and beside a running relay publish each message once, in the order of its key', async () => {
    await using place = await open()
    const { app, write } = await writer(place, true)
    await using _app = app
    const writing = write()
    const processes = Array.from({ length: 3 }, () => drainIn(place, { maxMessages: 5 }))
    await Promise.all([writing, ...processes])
    await app.drain()
    const arrived: Body[] = []
    await expect
      .poll(async () => arrived.push(...fresh(arrived, await place.arrived())), { timeout: 60_000 })
      .toBe(ALL)
    for (const key of KEYS)
      expect(arrived.filter((body) => body.key === key).map(({ number }) => number)).toEqual(
        numbers,
      )
  })

  test.each(points)(
    'P2 P5 P6: killed when a message was %s, the next calls publish the rest, and of it at most what was in hand twice',
    async (kill) => {
      await using place = await open()
      const { app, write } = await writer(place, false)
      await using _app = app
      await write()
      expect(await drainIn(place, { maxMessages: 12 }, kill)).toBeUndefined()
      let published = 0
      const drain = async () => {
        published += (await drainIn(place, {}))?.published ?? 0
        return (await app.drain()).published
      }
      await expect.poll(drain, { timeout: 60_000 }).toBe(0)
      const arrived: Body[] = []
      await expect
        .poll(
          async () => {
            await app.drain()
            arrived.push(...fresh(arrived, await place.arrived()))
            return new Set(arrived.map((body) => JSON.stringify(body))).size
          },
          { timeout: 60_000 },
        )
        .toBe(ALL)
      for (const key of KEYS) expect(firsts(arrived, key)).toEqual(numbers)
      expect(arrived.length).toBeLessThanOrEqual(ALL + (kill === 'claimed' ? 0 : 12))
      expect(published).toBeGreaterThan(0)
    },
  )
})

/** A file is read as a whole again each time, while a broker gives each message once. */
function fresh(before: readonly Body[], now: readonly Body[]): readonly Body[] {
  const whole = now.length >= before.length && before.every((body, at) => same(body, now[at]))
  return whole ? now.slice(before.length) : now
}

const same = (left: Body, right: Body | undefined): boolean =>
  left.key === right?.key && left.number === right.number
