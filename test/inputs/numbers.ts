import { setTimeout as sleep } from 'node:timers/promises'
import { createPool } from 'mysql2/promise'
import { Pool } from 'pg'
import { Mersal, type MersalOptions, retryLater } from '../../src/index.ts'
import { memoryStore, memoryTransport } from '../../src/memory.ts'
import { mysqlQueue } from '../../src/mysql.ts'
import { postgres, postgresQueue } from '../../src/postgres.ts'
import { rabbitmq } from '../../src/rabbitmq.ts'
import { sqlite, sqliteQueue } from '../../src/sqlite.ts'
import { LONGEST_DELAY_MS } from '../../src/core/messages/validation.ts'
import type { Travelling, Trial, Verdict } from './input.ts'
import type { Place } from './places.ts'
import { APP } from './road.ts'
import { refuses } from './soundness.ts'

/** Connects to nothing before it is used, and nothing here uses it. */
const pool = new Pool({ connectionString: 'postgres://nobody@127.0.0.1:1/none' })
const DAY = 86_400_000
const mysqlPool = createPool({ host: '127.0.0.1', port: 1, database: 'none' })
const queue = (options: object): unknown => mysqlQueue({ pool: mysqlPool, ...options })

function app(change: object): void {
  void new Mersal({
    name: 'a',
    transport: memoryTransport(),
    store: memoryStore(),
    ...change,
  } as unknown as MersalOptions<never>)
}

type Field = readonly [
  name: string,
  use: (value: never) => unknown,
  min: number,
  max: number,
  fraction?: 'fraction',
]

/** Every number among the options, with its bounds. */
const fields: readonly Field[] = [
  [
    'pollIntervalMs',
    (pollIntervalMs) => app({ outbox: { relay: { pollIntervalMs } } }),
    1,
    3_600_000,
  ],
  ['batchSize', (batchSize) => app({ outbox: { relay: { batchSize } } }), 1, 10_000],
  ['window', (window) => app({ outbox: { relay: { window } } }), 500, 100_000],
  ['claimMs', (claimMs) => app({ outbox: { relay: { claimMs } } }), 100, 3_600_000],
  ['maxAttempts', (maxAttempts) => app({ outbox: { relay: { maxAttempts } } }), 1, 10_000],
  [
    'expressGraceMs',
    (expressGraceMs) => app({ outbox: { relay: { expressGraceMs } } }),
    100,
    3_600_000,
  ],
  ['retry.firstMs', (firstMs) => app({ outbox: { relay: { retry: { firstMs } } } }), 1, DAY],
  [
    'retry.longestMs',
    (longestMs) => app({ outbox: { relay: { retry: { firstMs: 1, longestMs } } } }),
    1,
    DAY,
  ],
  [
    'retry.factor',
    (factor) => app({ outbox: { relay: { retry: { firstMs: 1, longestMs: 2, factor } } } }),
    1,
    100,
    'fraction',
  ],
  ['breaker.firstMs', (firstMs) => app({ outbox: { relay: { breaker: { firstMs } } } }), 1, DAY],
  ['concurrency', (concurrency) => app({ receive: { concurrency } }), 1, 10_000],
  ['immediateRetries', (immediateRetries) => app({ receive: { immediateRetries } }), 0, 100],
  [
    'maxDeliveries',
    (maxDeliveries) =>
      app({
        receive: { maxDeliveries, handlerTimeoutMs: 1, backoff: { firstMs: 0, longestMs: 1 } },
      }),
    1,
    10_000,
  ],
  ['stopGraceMs', (stopGraceMs) => app({ stopGraceMs }), 0, 3_600_000],
  ['postgres.keepSentMs', (keepSentMs) => postgres({ pool, keepSentMs }), 0, 3660 * DAY],
  [
    'postgres.retrySerialization',
    (retrySerialization) => postgres({ pool, retrySerialization }),
    0,
    100,
  ],
  ['postgres.heartbeatMs', (heartbeatMs) => postgres({ pool, heartbeatMs }), 100, 60_000],
  ['postgresQueue.visibilityMs', (visibilityMs) => postgresQueue({ pool, visibilityMs }), 30, DAY],
  [
    'postgresQueue.pollIntervalMs',
    (pollIntervalMs) => postgresQueue({ pool, pollIntervalMs }),
    1,
    3_600_000,
  ],
  [
    'postgresQueue.maxMessageBytes',
    (maxMessageBytes) => postgresQueue({ pool, maxMessageBytes }),
    1,
    256 * 1024 * 1024,
  ],
  ['mysqlQueue.visibilityMs', (visibilityMs) => queue({ visibilityMs }), 30, DAY],
  ['mysqlQueue.pollIntervalMs', (pollIntervalMs) => queue({ pollIntervalMs }), 1, 3_600_000],
  [
    'mysqlQueue.maxMessageBytes',
    (maxMessageBytes) => queue({ maxMessageBytes }),
    1,
    1024 ** 3 - 1024 ** 2,
  ],
  [
    'sqlite.busyTimeoutMs',
    (busyTimeoutMs) => sqlite({ path: ':memory:', busyTimeoutMs }),
    0,
    600_000,
  ],
  [
    'sqliteQueue.maxMessageBytes',
    (maxMessageBytes) => sqliteQueue({ path: ':memory:', maxMessageBytes }),
    1,
    500_000_000,
  ],
  ['memoryStore.lockWaitMs', (lockWaitMs) => memoryStore({ lockWaitMs }), 0, 3_600_000],
  ['mysqlQueue.prefetch', (prefetch) => queue({ prefetch }), 1, 10_000],
  ['postgresQueue.prefetch', (prefetch) => postgresQueue({ pool, prefetch }), 1, 10_000],
  ['sqliteQueue.prefetch', (prefetch) => sqliteQueue({ path: ':memory:', prefetch }), 1, 10_000],
  ['rabbitmq.prefetch', (prefetch) => rabbitmq({ url: 'amqp://h', prefetch }), 1, 10_000],
  [
    'rabbitmq.heartbeatSeconds',
    (heartbeatSeconds) => rabbitmq({ url: 'amqp://h', heartbeatSeconds }),
    1,
    600,
  ],
]

const values: Readonly<Record<string, unknown>> = {
  '0': 0,
  '-1': -1,
  '-0': -0,
  NaN: Number.NaN,
  Infinity: Number.POSITIVE_INFINITY,
  '-Infinity': Number.NEGATIVE_INFINITY,
  '2^31-1': 2 ** 31 - 1,
  '2^31': 2 ** 31,
  '2^53': 2 ** 53,
  '1e308': 1e308,
  '1e9': 1e9,
  '0.1': 0.1,
  '5e-324': 5e-324,
  'a text': '5',
  'an invalid date': new Date(Number.NaN),
  'a date': new Date(5),
  'the year 275760': new Date(8.64e15),
  null: null,
  'a big integer': 5n,
  true: true,
  'an array': [5],
  'an object with valueOf': { valueOf: () => 5 },
}

const once: NonNullable<Trial['on']> = ({ adapter }) => adapter === 'memory'

function fits(value: unknown, [, , min, max, fraction]: Field): boolean {
  return (
    typeof value === 'number' &&
    value >= min &&
    value <= max &&
    (fraction !== undefined || Number.isInteger(value))
  )
}

const inEveryField: readonly Trial[] = Object.entries(values).map(([name, value]) => ({
  name: `${name} in every number of the options`,
  on: once,
  async run(): Promise<Verdict> {
    let taken = 0
    for (const field of fields) {
      const [where, use] = field
      try {
        if (fits(value, field)) {
          use(value as never)
          taken++
        } else await refuses('MERSAL_INVALID_OPTIONS', () => use(value as never))
      } catch (error) {
        throw new Error(`${where}: ${(error as Error).message}`, { cause: error })
      }
    }
    return taken === fields.length ? 'round trip' : 'refused'
  },
}))

const delay = (
  name: string,
  delayMs: unknown,
  ends: Travelling['ends'] = 'MERSAL_INVALID_MESSAGE',
): Travelling => ({
  name: `delay: ${name}`,
  send: (sender, { Keep }) => sender.sendLocal(Keep, { name }, { delayMs: delayMs as number }),
  ends,
})

export const delays: readonly Travelling[] = [
  delay('0', 0, 'arrives'),
  delay('1.5', 1.5, 'arrives'),
  delay('-1', -1),
  delay('NaN', Number.NaN),
  delay('Infinity', Number.POSITIVE_INFINITY),
  delay('2^53', 2 ** 53),
  delay('a text', '5'),
  delay('null', null),
  delay('a date', new Date(8.64e15)),
]

/** How often the relay looks in so long. */
async function claimsOf({ outbox }: Place['store'], ms: number): Promise<number> {
  const claim = outbox.claim.bind(outbox)
  let claims = 0
  outbox.claim = (request) => {
    claims++
    return claim(request)
  }
  await sleep(ms)
  outbox.claim = claim
  return claims
}

export const numbers: readonly Trial[] = [
  ...inEveryField,
  {
    name: 'express that is no boolean',
    on: once,
    run: () =>
      refuses('MERSAL_INVALID_OPTIONS', () => app({ outbox: { relay: { express: 'no' } } })),
  },
  {
    name: 'a retention shorter than the longest redelivery',
    on: once,
    run: () => refuses('MERSAL_INVALID_OPTIONS', () => app({ idempotency: { retentionMs: 1000 } })),
  },
  {
    name: 'a claim of less than nothing',
    on: once,
    run: () =>
      refuses('MERSAL_INVALID_OPTIONS', () => app({ outbox: { relay: { claimMs: -15_000 } } })),
  },
  {
    name: 'jitter above the base: a longest wait below the first one',
    on: once,
    run: () =>
      refuses('MERSAL_INVALID_OPTIONS', () =>
        app({ outbox: { relay: { retry: { firstMs: 100, longestMs: 50 } } } }),
      ),
  },
  ...[Number.NaN, -1, 2 ** 53, '5', null].map(
    (ms): Trial => ({
      name: `retryLater(${String(ms)})`,
      on: once,
      run: () => refuses('MERSAL_INVALID_OPTIONS', () => retryLater(ms as number)),
    }),
  ),
  ...[0, -1, 1001, Number.NaN, 1.5, '5'].map(
    (limit): Trial => ({
      name: `listing ${JSON.stringify(limit) ?? 'nothing'} dead letters`,
      async run({ store, incoming }): Promise<Verdict> {
        await refuses('MERSAL_INVALID_OPTIONS', () =>
          store.admin.deadLetters.list({ limit: limit as number }),
        )
        return refuses('MERSAL_INVALID_OPTIONS', () =>
          incoming(APP).list({ limit: limit as number }),
        )
      },
    }),
  ),
  ...['x', '1; drop table outbox', '-1', '1e3', ' 1', '9'.repeat(30), '__proto__', '\0'].map(
    (key): Trial => ({
      name: `a dead letter called ${JSON.stringify(key.slice(0, 20))}`,
      async run({ store, incoming }): Promise<Verdict> {
        for (const box of [store.admin.deadLetters, incoming(APP)]) {
          if ((await box.retry([key])) + (await box.discard([key])) !== 0)
            throw new Error('it was found')
          if ((await box.list({ after: key })).length > 0)
            throw new Error('something comes after what does not exist')
        }
        return 'refused'
      },
    }),
  ),
  {
    name: 'a delay of a year, which no timer of Node can wait for',
    async run({ store }): Promise<Verdict> {
      const to = { transport: 'default', kind: 'queue', name: APP } as const
      const message = {
        id: crypto.randomUUID(),
        type: 'inputs.keep',
        headers: {},
        body: Buffer.from('1'),
        to,
        delayMs: LONGEST_DELAY_MS,
      }
      const before = (await store.admin.stats()).pending
      await store.unitOfWork((tx) => store.outbox.save(tx, [message]))
      const claims = await claimsOf(store, 1000)
      // One look is due every 100 ms, and a few for what is told; a timer that overflowed would look
      // a thousand times.
      if (claims > 20) throw new Error(`the relay looked ${claims} times in a second`)
      if ((await store.admin.stats()).pending !== before + 1) throw new Error('it does not wait')
      return 'round trip'
    },
  },
]
