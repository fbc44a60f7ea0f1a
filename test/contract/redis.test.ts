import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Destination } from '../../src/core/messages/message.ts'
import { redisHarness } from '../redis/contract-harness.ts'
import { redisCli, streamOf } from '../redis/plain-client.ts'
import { openPrivateRedis, type PrivateRedis, redisIsHere } from '../redis/server.ts'
import { transportSuite } from './transport-suite.ts'

const here = redisIsHere()
let server: PrivateRedis

beforeAll(async () => {
  if (here) server = await openPrivateRedis({ password: 'contract' })
})
afterAll(async () => {
  if (here) await server[Symbol.asyncDispose]()
})

const to = (kind: 'queue' | 'topic', name: string): Destination => ({
  transport: 'default',
  kind,
  name,
})

transportSuite('Redis transport', () => redisHarness(server.url), here)

describe.skipIf(!here)('Redis transport, seen by redis-cli', () => {
  test('every confirmed message is in its stream, with the same fields, in the order of publishing', async () => {
    await using harness = redisHarness(server.url)
    const transport = await harness.open()
    const [queue, topic] = [harness.name('read-back'), harness.name('read-back-event')]
    await transport.subscribe(queue, [topic])
    const messages = Array.from({ length: 200 }, (_, index) => ({
      id: randomUUID(),
      type: `test.${index}`,
      headers: { number: String(index), name: 'Zoë 日本語' },
      body: Buffer.from('ü'.repeat(index * 20)),
      partitionKey: `key ${index % 7}`,
      to: index % 2 === 0 ? to('queue', queue) : to('topic', topic),
    }))
    const outcomes = await Promise.all(transport.publish(messages))
    expect(outcomes.filter(({ kind }) => kind !== 'confirmed')).toEqual([])
    const prefix = `{${queue.split('.')[0]}}:`
    const found = await streamOf(server.url, `${prefix}queue:${queue}`)
    expect(found).toEqual(
      messages.map(({ id, type, headers, body }) => ({
        id,
        type,
        headers: JSON.stringify(headers),
        body: body.toString(),
      })),
    )
    expect(await redisCli(server.url, 'SMEMBERS', `${prefix}topic:${topic}`)).toEqual([queue])
  })

  test('what has been handled leaves no trace but the queue', async () => {
    await using harness = redisHarness(server.url)
    const transport = await harness.open()
    const queue = harness.name('done')
    await transport.subscribe(queue, [])
    const message = { id: randomUUID(), type: 't', headers: {}, body: Buffer.from('x') }
    await Promise.all(transport.publish([{ ...message, to: to('queue', queue) }]))
    const handled = Promise.withResolvers<void>()
    {
      await using _consumption = await transport.consume({ queue, concurrency: 1 }, () => {
        handled.resolve()
        return Promise.resolve({ kind: 'ack' })
      })
      await handled.promise
    }
    const prefix = `{${queue.split('.')[0]}}:`
    const keys = (await redisCli(server.url, 'KEYS', `${prefix}*`)) as string[]
    expect(keys.toSorted()).toEqual([`${prefix}queue:${queue}`, `${prefix}queues`])
    expect(await streamOf(server.url, `${prefix}queue:${queue}`)).toEqual([])
  })
})
