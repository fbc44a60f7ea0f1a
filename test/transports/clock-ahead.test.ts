import { afterEach, describe, expect, test, vi } from 'vitest'
import { systemClock } from '../../src/lib/async/clock.ts'
import type { TransportHarness } from '../../src/testing/index.ts'
import { message, publish, toQueue } from '../../src/testing/transport/harness.ts'
import { natsHarness } from '../nats/contract-harness.ts'
import { rabbitHarness } from '../rabbitmq/contract-harness.ts'
import { brokers } from './brokers.ts'

const { here, url } = await brokers()
const DAY_MS = 86_400_000
const DELAY_MS = 300

afterEach(() => vi.restoreAllMocks())

/** A process whose clock is a day ahead asks for another try and goes; the next one takes over. */
async function takeOver(harness: TransportHarness): Promise<readonly number[]> {
  await using _ = harness
  const queue = harness.name('ahead')
  const attempts: number[] = []
  const now = systemClock.now.bind(systemClock)
  const ahead = vi.spyOn(systemClock, 'now').mockImplementation(() => now() + DAY_MS)
  const first = await harness.open()
  await first.subscribe(queue, [])
  const asked = Promise.withResolvers<void>()
  await first.consume({ queue, concurrency: 1, orderPerKey: true }, async ({ attempt }) => {
    attempts.push(attempt)
    setTimeout(asked.resolve, DELAY_MS / 2)
    return { kind: 'retry', delayMs: DELAY_MS, error: new Error('once more') }
  })
  await publish(first, message('ahead', toQueue(queue), { partitionKey: 'key' }))
  await asked.promise
  await harness.crash(first)
  ahead.mockRestore()
  const done = Promise.withResolvers<void>()
  await using second = await harness.open()
  await using _consumer = await second.consume(
    { queue, concurrency: 1, orderPerKey: true },
    async ({ attempt }) => {
      attempts.push(attempt)
      done.resolve()
      return { kind: 'ack' }
    },
  )
  await done.promise
  return attempts
}

describe('P5: a retry of a process whose clock was a day ahead holds its key for no longer than its delay', {
  timeout: 30_000,
}, () => {
  test.skipIf(!here.rabbit)('RabbitMQ', async () => {
    const [first, ...later] = await takeOver(rabbitHarness(url.rabbit))
    expect([first, later.length]).toEqual([1, 1])
  })

  test.skipIf(!here.nats)('NATS', async () => {
    const [first, ...later] = await takeOver(natsHarness(url.nats))
    expect([first, later.length]).toEqual([1, 1])
  })
})
