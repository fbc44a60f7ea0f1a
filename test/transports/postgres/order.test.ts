import { describe, expect, test } from 'vitest'
import type { Delivery } from '../../../src/core/transport.ts'
import type { Isolation } from '../../../src/postgres.ts'
import { serverAnswers } from '../../postgres/database.ts'
import { type QueueHarness, queueHarness, Work } from '../../postgres/queue-harness.ts'
import { nextTurn } from '../../postgres/race.ts'
import { seededRandom } from '../../../scripts/seeded-random.ts'

const present = await serverAnswers()

interface WriterOptions {
  readonly isolation: Isolation
  readonly straight: boolean
  readonly units: number
  readonly keys: number
  readonly random: () => number
}

/**
 * Units that number the messages of each key under a row lock, so that the numbers tell the order
 * of the commits.
 */
async function writer(
  harness: QueueHarness,
  name: string,
  { isolation, straight, units, keys, random }: WriterOptions,
): Promise<number> {
  const { schema } = harness.database
  const { app } = harness.app(name, {
    queue: { straight },
    store: { isolation, retrySerialization: 100 },
    app: { sendOnly: true, routes: { 'test.work': 'hot' } },
  })
  await app.start()
  let committed = 0
  for (let unit = 0; unit < units; unit++) {
    const some = [...new Set([0, 1].map(() => `k${Math.floor(random() * keys)}`))].toSorted()
    const fate = random()
    try {
      await app.transaction(async (tx, { send }) => {
        for (const key of some) {
          const { rows } = await tx.query<{ number: number }>(
            `update ${schema}.counter set number = number + 1 where key = $1 returning number`,
            [key],
          )
          await send(Work, { label: `${key}/${rows[0]?.number}` }, { partitionKey: key })
        }
        if (fate < 0.2) throw new Error('rolled back')
        if (fate < 0.3) await tx.query('select pg_sleep(0.003)')
      })
      committed += some.length
    } catch (error) {
      if (!(error instanceof Error) || error.message !== 'rolled back') throw error
    }
  }
  // What went over the outbox is published by the relay of this app.
  await app.drain()
  return committed
}

/** What four consumers have handled, and how often two held the same key at once. */
interface Ledger {
  readonly handled: Map<string, number[]>
  readonly inHands: Set<string>
  overlaps: number
  count: number
}

async function handle(ledger: Ledger, { message, attempt }: Delivery, random: () => number) {
  const { label } = JSON.parse(new TextDecoder().decode(message.body)) as { label: string }
  const [key = '', number] = label.split('/')
  if (ledger.inHands.has(key)) ledger.overlaps++
  ledger.inHands.add(key)
  await nextTurn()
  if (random() < 0.2) await new Promise((resolve) => setTimeout(resolve, 2))
  ledger.inHands.delete(key)
  const fate = random()
  if (attempt < 3 && fate < 0.1)
    return { kind: 'retry', delayMs: fate < 0.05 ? 0 : 5, error: new Error('again') } as const
  if (fate > 0.97) return { kind: 'release' } as const
  ledger.handled.set(key, [...(ledger.handled.get(key) ?? []), Number(number)])
  ledger.count++
  return { kind: 'ack' } as const
}

async function race(
  writers: readonly Pick<WriterOptions, 'isolation' | 'straight'>[],
  keys: number,
): Promise<void> {
  await using harness = await queueHarness()
  const { schema } = harness.database
  const random = seededRandom(keys * 31 + writers.length)
  await harness.database.query(
    `create table ${schema}.counter (key text primary key, number integer not null)`,
  )
  await harness.database.query(
    `insert into ${schema}.counter select 'k' || n, 0 from generate_series(0, $1::int - 1) n`,
    [keys],
  )
  const ledger: Ledger = { handled: new Map(), inHands: new Set(), overlaps: 0, count: 0 }
  for (let index = 0; index < 4; index++) {
    await harness
      .queue({ pollIntervalMs: 50 })
      .consume({ queue: 'hot', concurrency: 3 }, (delivery) => handle(ledger, delivery, random))
  }
  const counts = await Promise.all(
    writers.map((kind, index) =>
      writer(harness, `w${index}`, { ...kind, units: 60, keys, random }),
    ),
  )
  const written = counts.reduce((sum, count) => sum + count, 0)
  while (ledger.count < written) await new Promise((resolve) => setTimeout(resolve, 5))
  const [left] = await harness.database.query(
    `select count(*)::int as n from ${schema}.queue_message`,
  )
  const expected = Object.fromEntries(
    [...ledger.handled].map(([key, numbers]) => [key, numbers.map((_, index) => index + 1)]),
  )
  expect(Object.fromEntries(ledger.handled)).toEqual(expected)
  expect({
    count: ledger.count,
    overlaps: ledger.overlaps,
    left: Number(left?.['n']) <= 12,
  }).toEqual({
    count: written,
    overlaps: 0,
    left: true,
  })
}

const committed = { isolation: 'read committed', straight: true } as const
const serializable = { isolation: 'serializable', straight: true } as const

describe.skipIf(!present)(
  'P5: order per key in the PostgreSQL queue, 4 consumers with retries, writers with rollbacks and late commits',
  () => {
    test('writers at READ COMMITTED, straight into the queue', { timeout: 240_000 }, () =>
      race([committed, committed, committed], 4),
    )

    test('writers at SERIALIZABLE', { timeout: 240_000 }, () =>
      race([serializable, serializable, serializable], 4),
    )

    test(
      'writers of both kinds, and one over outbox and relay, on the same keys',
      { timeout: 240_000 },
      () =>
        race(
          [committed, committed, serializable, { isolation: 'read committed', straight: false }],
          3,
        ),
    )

    test('behind 20,000 messages that wait for one key, others are delivered, and the key keeps its order', {
      timeout: 240_000,
    }, async () => {
      await using harness = await queueHarness()
      const { schema } = harness.database
      const queue = harness.queue({ pollIntervalMs: 50 })
      await queue.subscribe('hot', [])
      await harness.database.query(
        `insert into ${schema}.queue_message (queue, visible_at, id, type, key, headers, body)
       select q.id, now(), n::text, 't', case when n <= 20000 then 'one' else 'other ' || n end, '{}', ''
       from ${schema}.queue q, generate_series(1, 20020) g(n) order by g.n`,
      )
      const hot: number[] = []
      const others = new Set<number>()
      const seen = Promise.withResolvers<void>()
      const consumption = await queue.consume({ queue: 'hot', concurrency: 2 }, ({ message }) => {
        const number = Number(message.id)
        if (number <= 20_000) hot.push(number)
        else others.add(number)
        if (others.size === 20 && hot.length > 50) seen.resolve()
        return Promise.resolve({ kind: 'ack' })
      })
      await seen.promise
      await consumption[Symbol.asyncDispose]()
      expect(hot).toEqual(hot.map((_, index) => index + 1))
    })
  },
)
