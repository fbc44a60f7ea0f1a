import { describe, expect, test } from 'vitest'
import type { TransportHarness } from '../../src/testing/index.ts'
import { filled, listen, only, receive } from '../../src/testing/transport/harness.ts'
import { natsHarness } from '../nats/contract-harness.ts'
import { rabbitHarness } from '../rabbitmq/contract-harness.ts'
import { redisHarness } from '../redis/contract-harness.ts'
import { brokers } from './brokers.ts'

const { here, url } = await brokers()

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
  test.skipIf(!here.redis)('Redis', { timeout: 60_000 }, async () => {
    await using harness = redisHarness(url.redis)
    await putBackAndCrash(harness)
  })

  test.skipIf(!here.nats)('NATS', { timeout: 60_000 }, async () => {
    await using harness = natsHarness(url.nats)
    await putBackAndCrash(harness)
  })

  test.skipIf(!here.rabbit)('RabbitMQ', { timeout: 60_000 }, async () => {
    await using harness = rabbitHarness(url.rabbit)
    await putBackAndCrash(harness)
  })
})
