import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Disposition } from '../../../src/core/transport.ts'
import { silentLogger } from '../../../src/core/telemetry.ts'
import { rabbitmq } from '../../../src/rabbitmq.ts'
import {
  RetryLadder,
  retryDelaysMs,
} from '../../../src/transports/rabbitmq/consume/retry-ladder.ts'
import { openPrivateBroker, type PrivateBroker, rabbitIsHere } from '../../rabbitmq/broker.ts'
import { publishOne, toQueue } from '../../rabbitmq/messages.ts'

const here = await rabbitIsHere()
let broker: PrivateBroker

beforeAll(async () => {
  if (here) broker = await openPrivateBroker()
})
afterAll(async () => {
  if (here) await broker[Symbol.asyncDispose]()
})

const again = (delayMs: number): Disposition => ({
  kind: 'retry',
  delayMs,
  error: new Error('not yet'),
})

/**
 * Every message is handled at its second delivery. `retried` sends one and resolves when it was.
 */
async function openRetrying(queue: string) {
  const warnings: unknown[] = []
  const logger = {
    ...silentLogger,
    warn: (fields: object) => void warnings.push({ ...fields, error: undefined }),
  }
  const transport = rabbitmq({ url: broker.url, logger, confirmTimeoutMs: 2000 })
  await transport.subscribe(queue, [])
  const waiters = new Map<string, () => void>()
  const consumer = await transport.consume(
    { queue, concurrency: 5 },
    async ({ message, attempt }) => {
      if (attempt === 1) return again(400)
      waiters.get(message.id)?.()
      return { kind: 'ack' }
    },
  )
  return {
    warnings,
    transport,
    async retried(id: string): Promise<void> {
      const done = new Promise<void>((resolve) => waiters.set(id, resolve))
      expect(await publishOne(transport, toQueue(queue, { id }))).toEqual({ kind: 'confirmed' })
      await done
    },
    async [Symbol.asyncDispose]() {
      await consumer[Symbol.asyncDispose]()
      await transport[Symbol.asyncDispose]()
    },
  }
}

/**
 * As a broker leaves a queue that it could not keep: it is there and can be declared, and confirms
 * nothing.
 */
async function silence(queue: string): Promise<void> {
  await broker.evaluate(`sys:suspend(list_to_atom("%2F_${queue}"))`)
}

describe.skipIf(!here)('a retry queue that takes nothing any more', { timeout: 240_000 }, () => {
  test('holds up no message: the next step of the ladder stands in for it, at once for later messages', async () => {
    await using app = await openRetrying('orders')
    await app.retried('before')
    await silence('orders.retry.450')
    await app.retried('during')
    const once = [{ queue: 'orders', target: 'orders.retry.450', code: 'MERSAL_UNKNOWN_OUTCOME' }]
    expect(app.warnings, 'the silence was noticed').toEqual(once)
    await app.retried('after')
    expect(app.warnings, 'nobody asked that queue a second time').toEqual(once)
  })

  test('holds up neither other retries nor what is published, also where the broker lets the channel wait for it', async () => {
    await using maker = await openRetrying('bills')
    await maker.retried('before')
    await maker[Symbol.asyncDispose]()
    await silence('bills.retry.450')
    // On a channel that never reached the queue, RabbitMQ first waits for the queue to take notice
    // of the channel.
    await using app = await openRetrying('bills')
    const held = app.retried('during')
    while (app.warnings.length === 0) {
      expect(await publishOne(app.transport, toQueue('bills.dead'))).toEqual({ kind: 'confirmed' })
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    await held
    expect(app.warnings).toEqual([
      { queue: 'bills', target: 'bills.retry.450', code: 'MERSAL_UNKNOWN_OUTCOME' },
    ])
  })
})

describe('the ladder of retry queues', () => {
  test('passes over a silent step, at most to the third above, and comes back to one that confirms', () => {
    const ladder = new RetryLadder()
    const silence = (step: number): void => ladder.silent(`q.retry.${step}`)
    expect(ladder.stepFor('q', 350)).toBe(450)
    silence(450)
    expect([
      ladder.stepFor('q', 350),
      ladder.stepFor('q', 700),
      ladder.stepFor('other', 350),
    ]).toEqual([700, 700, 450])
    for (const step of [700, 1000, 1500, 2000]) silence(step)
    expect(ladder.stepFor('q', 350), 'all four are silent').toBe(450)
    ladder.confirmed('q.retry.1000')
    expect(ladder.stepFor('q', 350)).toBe(1000)
  })

  test('ends with a day, also for longer delays', () => {
    const ladder = new RetryLadder()
    const day = retryDelaysMs.at(-1)
    expect(ladder.stepFor('q', 1e9)).toBe(day)
    ladder.silent(`q.retry.${day}`)
    expect(ladder.stepFor('q', 1e9)).toBe(day)
  })
})
