import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Destination } from '../../src/core/messages/message.ts'
import { kafkaHarness } from '../kafka/contract-harness.ts'
import { plainClient } from '../kafka/plain-client.ts'
import { kafkaIsHere, openKafka } from '../kafka/server.ts'
import { transportSuite } from './transport-suite.ts'

const here = kafkaIsHere('any')
let server: Awaited<ReturnType<typeof openKafka>>

beforeAll(async () => {
  if (here) server = await openKafka()
})
afterAll(async () => {
  if (here) await server[Symbol.asyncDispose]()
})

transportSuite('Kafka transport', () => kafkaHarness(server.server), here)

const toQueue = (name: string): Destination => ({ transport: 'default', kind: 'queue', name })
const toTopic = (name: string): Destination => ({ transport: 'default', kind: 'topic', name })

describe.skipIf(!here)('Kafka transport, seen by a plain client', () => {
  test('every confirmed message is in its topic, with the same bytes and headers, those of a key in one partition and in order', async () => {
    await using harness = kafkaHarness(server.server)
    await using plain = await plainClient(server.server)
    const transport = await harness.open()
    const [queue, topic] = [harness.name('read-back'), harness.name('read-back-event')]
    await transport.subscribe(queue, [topic])
    const messages = Array.from({ length: 200 }, (_, index) => ({
      id: randomUUID(),
      type: `test.${index}`,
      headers: { 'content-type': 'application/octet-stream', number: String(index), name: 'Zoë' },
      body: Uint8Array.from({ length: index * 97 }, (_byte, at) => (at * 31 + index) % 256),
      to: index % 2 === 0 ? toQueue(queue) : toTopic(topic),
      ...(index % 3 === 0 ? {} : { partitionKey: `key-${index % 5}` }),
    }))
    const outcomes = await Promise.all(transport.publish(messages))
    expect(outcomes.filter(({ kind }) => kind !== 'confirmed')).toEqual([])
    const prefix = queue.split('.')[0]
    const stored = await plain.read(`${prefix}.queue.${queue}`, messages.length)
    const found = new Map(stored.map((message) => [message.headers['mersal-id'], message]))
    expect(found.size).toBe(messages.length)
    for (const { id, type, headers, body, partitionKey } of messages) {
      const message = found.get(id)
      expect(Buffer.from(body).equals(message?.body ?? Buffer.from('missing'))).toBe(true)
      expect(message?.headers).toEqual({ ...headers, 'mersal-id': id, 'mersal-type': type })
      expect(message?.key).toBe(partitionKey)
    }
    for (const key of new Set(messages.map(({ partitionKey }) => partitionKey))) {
      if (key === undefined) continue
      const sent = messages.filter(({ partitionKey }) => partitionKey === key).map(({ id }) => id)
      const there = sent.map((id) => found.get(id))
      expect(new Set(there.map((one) => one?.partition)).size).toBe(1)
      const offsets = there.map((one) => one?.offset ?? -1)
      expect(offsets).toEqual(offsets.toSorted((one, other) => one - other))
    }
  })
})
