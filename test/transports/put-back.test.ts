import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { TransportHarness } from '../../src/testing/index.ts'
import { filled, listen, only, receive } from '../../src/testing/transport/harness.ts'
import { natsHarness } from '../nats/contract-harness.ts'
import { natsIsHere, openNats } from '../nats/server.ts'
import { rabbitIsHere } from '../rabbitmq/broker.ts'
import { rabbitHarness } from '../rabbitmq/contract-harness.ts'
import { withVhost } from '../rabbitmq/with-vhost.ts'
import { redisHarness } from '../redis/contract-harness.ts'
import { openPrivateRedis, type PrivateRedis, redisIsHere } from '../redis/server.ts'

const hasRedis = redisIsHere()
const hasNats = natsIsHere('any')
const hasRabbit = await rabbitIsHere()
const vhost = withVhost(hasRabbit)
let server: PrivateRedis
let jetStream: Awaited<ReturnType<typeof openNats>>

beforeAll(async () => {
  if (hasRedis) server = await openPrivateRedis()
  if (hasNats) jetStream = await openNats()
})
afterAll(async () => {
  if (hasRedis) await server[Symbol.asyncDispose]()
  if (hasNats) await jetStream[Symbol.asyncDispose]()
})

/** The process that had given it up gets it again from one that has crashed. */
async function putBackAndCrash(harness: TransportHarness): Promise<void> {
  await using transport = await harness.open()
  const queue = await filled(harness, transport, 'x')
  const before = await listen(transport, queue)
  const first = await before.next()
  first.answer({ kind: 'retry', delayMs: 0, error: new Error('not yet') })
  const second = await before.next()
  second.answer({ kind: 'reject', reason: 'rejected', error: new Error('no') })
  await before.stop()
  const box = harness.deadLetters(queue)
  expect(await box.retry([only(await box.list()).key])).toBe(1)
  await using crashing = await harness.open()
  const inbox = await listen(crashing, queue)
  const held = await inbox.next()
  expect([held.label, held.delivery.attempt]).toEqual(['x', 1])
  await harness.crash(crashing)
  await using after = await listen(transport, queue)
  const again = await after.next()
  expect([again.label, again.delivery.attempt]).toEqual(['x', 2])
  again.answer({ kind: 'reject', reason: 'rejected', error: new Error('no') })
  await after.stop()
  expect(await box.retry([only(await box.list()).key])).toBe(1)
  await using last = await listen(transport, queue)
  expect(await receive(last, 1)).toEqual(['x'])
}

describe('a dead letter that is put back is not lost in a crash, whoever gave it up before', () => {
  test.skipIf(!hasRedis)('Redis', { timeout: 60_000 }, async () => {
    await using harness = redisHarness(server.url)
    await putBackAndCrash(harness)
  })

  test.skipIf(!hasNats)('NATS', { timeout: 60_000 }, async () => {
    await using harness = natsHarness(jetStream.url)
    await putBackAndCrash(harness)
  })

  test.skipIf(!hasRabbit)('RabbitMQ', { timeout: 60_000 }, async () => {
    await using harness = rabbitHarness(vhost.url)
    await putBackAndCrash(harness)
  })
})
