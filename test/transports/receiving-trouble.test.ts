import { AsyncLocalStorage } from 'node:async_hooks'
import { createServer } from 'node:net'
import { once } from 'node:events'
import { describe, expect, test } from 'vitest'
import type { Consumption } from '../../src/core/transport.ts'
import type { TransportHarness } from '../../src/testing/index.ts'
import { message, publish, toQueue } from '../../src/testing/transport/harness.ts'
import { openProxy } from '../chaos/proxy.ts'
import { natsHarness } from '../nats/contract-harness.ts'
import { rabbitHarness } from '../rabbitmq/contract-harness.ts'
import { redisHarness } from '../redis/contract-harness.ts'
import { brokers } from './brokers.ts'

const { here, url } = await brokers()

/** A port on which nobody listens. */
async function nobody(): Promise<number> {
  const nowhere = createServer().listen(0, '127.0.0.1')
  await once(nowhere, 'listening')
  const { port } = nowhere.address() as { readonly port: number }
  nowhere.close()
  await once(nowhere, 'close')
  return port
}

/** The broker goes away without traffic, stays away for a while, and comes back without traffic. */
async function loseAndFind(
  url: string,
  open: (url: string) => TransportHarness,
  more: Partial<Consumption> = {},
): Promise<void> {
  const through = new URL(url)
  const port = Number(through.port)
  await using proxy = await openProxy(port)
  through.host = `127.0.0.1:${proxy.port}`
  await using harness = open(through.href)
  await using transport = await harness.open()
  const queue = harness.name('troubled')
  await transport.subscribe(queue, [])
  let changed = Promise.withResolvers<Error | undefined>()
  const told: (Error | undefined)[] = []
  const onTrouble = (error: Error | undefined): void => {
    if (told.length > 0 && (told.at(-1) === undefined) === (error === undefined)) return
    if (told.length === 0 && error === undefined) return
    told.push(error)
    changed.resolve(error)
  }
  const next = async (): Promise<Error | undefined> => {
    const found = await changed.promise
    changed = Promise.withResolvers()
    return found
  }
  await using _consumer = await transport.consume(
    { queue, concurrency: 1, onTrouble, ...more },
    () => Promise.resolve({ kind: 'ack' }),
  )
  for (let outage = 0; outage < 2; outage++) {
    proxy.leadTo(await nobody())
    proxy.reset()
    expect(await next()).toBeInstanceOf(Error)
    proxy.leadTo(port)
    expect(await next()).toBeUndefined()
  }
}

/** A request uses the transport first; then somebody consumes. */
async function contextOfDelivery(harness: TransportHarness): Promise<string | undefined> {
  const request = new AsyncLocalStorage<string>()
  await using transport = await harness.open()
  const queue = harness.name('context')
  await request.run('of a request', () => transport.subscribe(queue, []))
  const seen = Promise.withResolvers<string | undefined>()
  await using _consumer = await transport.consume({ queue, concurrency: 1 }, () => {
    seen.resolve(request.getStore())
    return Promise.resolve({ kind: 'ack' })
  })
  await publish(transport, message('x', toQueue(queue)))
  return await seen.promise
}

describe.concurrent('what a request keeps for itself does not reach the deliveries of others', () => {
  test.skipIf(!here.redis)('Redis', async () => {
    await using harness = redisHarness(url.redis)
    expect(await contextOfDelivery(harness)).toBeUndefined()
  })
  test.skipIf(!here.nats)('NATS', async () => {
    await using harness = natsHarness(url.nats)
    expect(await contextOfDelivery(harness)).toBeUndefined()
  })
  test.skipIf(!here.rabbit)('RabbitMQ', async () => {
    await using harness = rabbitHarness(url.rabbit)
    expect(await contextOfDelivery(harness)).toBeUndefined()
  })
})

describe.concurrent('a consumer tells when it loses its broker, and when it has found it again', () => {
  test.skipIf(!here.redis)('Redis', { timeout: 30_000 }, () => loseAndFind(url.redis, redisHarness))
  test.skipIf(!here.nats)('NATS', { timeout: 30_000 }, () => loseAndFind(url.nats, natsHarness))
  test.skipIf(!here.rabbit)('RabbitMQ', { timeout: 30_000 }, () =>
    loseAndFind(url.rabbit, rabbitHarness),
  )
  test.skipIf(!here.rabbit)('RabbitMQ, in order', { timeout: 30_000 }, () =>
    loseAndFind(url.rabbit, rabbitHarness, { orderPerKey: true }),
  )
})
