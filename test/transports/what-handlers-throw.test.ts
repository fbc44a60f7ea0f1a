import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, test } from 'vitest'
import type { Consumption, Disposition } from '../../src/core/transport.ts'
import type { TransportHarness } from '../../src/testing/index.ts'
import { message, publish, toQueue } from '../../src/testing/transport/harness.ts'
import { natsHarness } from '../nats/contract-harness.ts'
import { rabbitHarness } from '../rabbitmq/contract-harness.ts'
import { redisHarness } from '../redis/contract-harness.ts'
import { brokers } from './brokers.ts'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

const { here, url } = await brokers()
const MIB = 1024 * 1024
const MESSAGES = 60

async function held(): Promise<number> {
  // What ended with the last answers.
  for (let turn = 0; turn < 3; turn++) {
    await new Promise((resolve) => setTimeout(resolve, 50))
    collect()
  }
  return process.memoryUsage().arrayBuffers
}

/** As a client of HTTP throws it: with the request and the response. */
const large = (): Error => Object.assign(new Error('refused'), { response: Buffer.alloc(MIB, 1) })

/** Each message fails once with a large error, and is handled then. */
async function failOnce(harness: TransportHarness, more: Partial<Consumption>): Promise<number> {
  await using _ = harness
  await using transport = await harness.open()
  const queue = harness.name('throwing')
  await transport.subscribe(queue, [])
  const before = await held()
  const tried = new Set<string>()
  const handled = new Set<string>()
  const all = Promise.withResolvers<void>()
  const handle = (id: string): Disposition => {
    if (!tried.has(id)) {
      tried.add(id)
      return { kind: 'retry', delayMs: 50, error: large() }
    }
    if (handled.add(id).size === MESSAGES) all.resolve()
    return { kind: 'ack' }
  }
  await using _consumer = await transport.consume(
    { queue, concurrency: 5, ...more },
    async ({ message: { id } }) => handle(id),
  )
  for (let index = 0; index < MESSAGES; index++)
    await publish(transport, message('large', toQueue(queue), { partitionKey: `key ${index % 7}` }))
  await all.promise
  return (await held()) - before
}

describe('P9: what a handler has thrown is not kept when its message has been handled', {
  timeout: 60_000,
}, () => {
  test.skipIf(!here.rabbit)('RabbitMQ', async () => {
    expect(await failOnce(rabbitHarness(url.rabbit), {})).toBeLessThan(10 * MIB)
  })

  test.skipIf(!here.rabbit)('RabbitMQ, in order', async () => {
    const harness = rabbitHarness(url.rabbit)
    expect(await failOnce(harness, { orderPerKey: true })).toBeLessThan(10 * MIB)
  })

  test.skipIf(!here.nats)('NATS', async () => {
    expect(await failOnce(natsHarness(url.nats), {})).toBeLessThan(10 * MIB)
  })

  test.skipIf(!here.redis)('Redis', async () => {
    expect(await failOnce(redisHarness(url.redis), {})).toBeLessThan(10 * MIB)
  })
})

/** Deliveries that a stopped process leaves come again, to another consumer. */
async function comeAgain(harness: TransportHarness): Promise<number> {
  await using _ = harness
  const queue = harness.name('again')
  const body = new Uint8Array(MIB)
  const leaver = await harness.open()
  await leaver.subscribe(queue, [])
  const here = Promise.withResolvers<void>()
  let came = 0
  await leaver.consume({ queue, concurrency: 20, orderPerKey: true }, async () => {
    if (++came === 20) here.resolve()
    return await new Promise<never>(() => {})
  })
  for (let index = 0; index < 20; index++)
    await publish(leaver, message('large', toQueue(queue), { body, partitionKey: `key ${index}` }))
  await here.promise
  await harness.crash(leaver)
  const before = await held()
  await using transport = await harness.open()
  const all = Promise.withResolvers<void>()
  let handled = 0
  await using _consumer = await transport.consume(
    { queue, concurrency: 5, orderPerKey: true },
    async () => {
      if (++handled === 20) all.resolve()
      return { kind: 'ack' }
    },
  )
  await all.promise
  return (await held()) - before
}

test.skipIf(!here.rabbit)(
  'P9: RabbitMQ, in order: the bytes of a message that came again are not kept when it has been handled',
  { timeout: 60_000 },
  async () => {
    expect(await comeAgain(rabbitHarness(url.rabbit))).toBeLessThan(10 * MIB)
  },
)
