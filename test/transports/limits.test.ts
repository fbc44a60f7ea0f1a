import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test, vi } from 'vitest'
import { command, Mersal } from '../../src/index.ts'
import { memoryNetwork } from '../../src/memory.ts'
import type { Transport } from '../../src/core/transport.ts'
import { natsHarness } from '../nats/contract-harness.ts'
import { serverAnswers } from '../postgres/database.ts'
import { queueHarness } from '../postgres/queue-harness.ts'
import { rabbitHarness } from '../rabbitmq/contract-harness.ts'
import { redisHarness } from '../redis/contract-harness.ts'
import { brokers } from './brokers.ts'

const { here, url } = await brokers()
const postgresIsHere = await serverAnswers()

const Slow = command<{ number: number }>('limits.slow')
const Quick = command<{ number: number }>('limits.quick')
const SLOW = 60
const QUICK = 20

/** What the app has handled, and the most of the limited ones that ran at a time. */
interface Seen {
  readonly slow: number[]
  readonly quick: number[]
  readonly attempts: Set<number>
  most: number
}

function limited(name: string, transport: Transport, orderPerKey: boolean) {
  const seen: Seen = { slow: [], quick: [], attempts: new Set(), most: 0 }
  const app = new Mersal({
    name,
    transport,
    receive: { concurrency: 4, maxDeliveries: 2, orderPerKey },
    logger: false,
  })
  let running = 0
  const others = Promise.withResolvers<void>()
  const handle = async ({ number }: { number: number }, attempt: number): Promise<void> => {
    seen.most = Math.max(seen.most, ++running)
    seen.attempts.add(attempt)
    await others.promise
    await sleep(5)
    running--
    seen.slow.push(number)
  }
  app.handle(Slow, (body, { attempt }) => handle(body, attempt), { limit: { concurrency: 1 } })
  app.handle(Quick, ({ number }) => {
    if (seen.quick.push(number) === QUICK) others.resolve()
  })
  return { app, seen }
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index)

/**
 * Three times as many messages come as may wait in memory, and others behind them. The first one
 * ends when all of the others have been handled, so they must not wait for it.
 */
async function floods(
  name: string,
  open: () => Promise<Transport> | Transport,
  { orderPerKey = false } = {},
): Promise<void> {
  const before = await open()
  await before.subscribe(name, [])
  const sender = new Mersal({ name: `${name}-sender`, transport: before, sendOnly: true })
  const to = { to: name }
  for (const number of upTo(SLOW))
    await sender.direct.send(Slow, { number }, { ...to, partitionKey: `${number % 5}` })
  for (const number of upTo(QUICK)) await sender.direct.send(Quick, { number }, to)
  await sender.stop()
  const { app, seen } = limited(name, await open(), orderPerKey)
  await using _running = app
  await app.start()
  await vi.waitFor(() => expect(seen.slow).toHaveLength(SLOW), { timeout: 60_000 })
  expect(seen.quick.toSorted((one, other) => one - other)).toEqual(upTo(QUICK))
  expect(seen.most).toBe(1)
  expect([...seen.attempts]).toEqual([1])
  expect(seen.slow.toSorted((one, other) => one - other)).toEqual(upTo(SLOW))
  if (!orderPerKey) return
  for (const key of upTo(5)) {
    const mine = seen.slow.filter((number) => number % 5 === key)
    expect(mine).toEqual(mine.toSorted((one, other) => one - other))
  }
}

describe.concurrent('messages that wait for their limit hold up no others, and use up no delivery', () => {
  test('memory', async () => {
    const network = memoryNetwork()
    await floods('limits', () => network.transport())
  })
  test('memory, in order', async () => {
    const network = memoryNetwork()
    await floods('limits', () => network.transport(), { orderPerKey: true })
  })
  test.skipIf(!postgresIsHere)('PostgreSQL queue', async () => {
    await using harness = await queueHarness()
    await floods('limits', () => harness.queue())
  })
  test.skipIf(!here.redis)('Redis', async () => {
    await using harness = redisHarness(url.redis)
    await floods(harness.name('limits'), () => harness.open())
  })
  test.skipIf(!here.nats)('NATS', async () => {
    await using harness = natsHarness(url.nats)
    await floods(harness.name('limits'), () => harness.open())
  })
  test.skipIf(!here.rabbit)('RabbitMQ', async () => {
    await using harness = rabbitHarness(url.rabbit)
    await floods(harness.name('limits'), () => harness.open())
  })
  test.skipIf(!here.rabbit)('RabbitMQ, in order', async () => {
    await using harness = rabbitHarness(url.rabbit)
    await floods(harness.name('limits'), () => harness.open(), { orderPerKey: true })
  })
})
