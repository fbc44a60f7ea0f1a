import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Destination } from '../../src/core/messages/message.ts'
import { natsHarness } from '../nats/contract-harness.ts'
import { plainClient } from '../nats/plain-client.ts'
import { natsIsHere, openNats } from '../nats/server.ts'
import { transportSuite } from './transport-suite.ts'

const here = natsIsHere('any')
let server: Awaited<ReturnType<typeof openNats>>

beforeAll(async () => {
  if (here) server = await openNats()
})
afterAll(async () => {
  if (here) await server[Symbol.asyncDispose]()
})

const toQueue = (name: string): Destination => ({ transport: 'default', kind: 'queue', name })
const toTopic = (name: string): Destination => ({ transport: 'default', kind: 'topic', name })

transportSuite('NATS transport', () => natsHarness(server.url), here)

describe.skipIf(!here)('NATS transport, seen by a plain client', () => {
  test('every confirmed message is in its stream, with the same bytes and headers', async () => {
    await using harness = natsHarness(server.url)
    await using plain = await plainClient(server.url)
    const transport = await harness.open()
    const [queue, topic] = [harness.name('read-back'), harness.name('read-back-event')]
    await transport.subscribe(queue, [topic])
    const messages = Array.from({ length: 200 }, (_, index) => ({
      id: randomUUID(),
      type: `test.${index}`,
      headers: { 'content-type': 'application/octet-stream', number: String(index), name: 'Zoë' },
      body: Uint8Array.from({ length: index * 97 }, (_byte, at) => (at * 31 + index) % 256),
      to: index % 2 === 0 ? toQueue(queue) : toTopic(topic),
    }))
    const outcomes = await Promise.all(transport.publish(messages))
    expect(outcomes.filter(({ kind }) => kind !== 'confirmed')).toEqual([])
    const stream = `${queue.split('.')[0]}-queue-${queue.replaceAll('.', '~')}`
    const found = new Map(
      (await plain.read(stream)).map((message) => [message.headers['Mersal-Id'], message]),
    )
    expect(found.size).toBe(messages.length)
    for (const { id, type, headers, body } of messages) {
      const message = found.get(id)
      expect(Buffer.from(body).equals(message?.body ?? Buffer.from('missing'))).toBe(true)
      expect(message?.headers).toEqual({
        ...headers,
        'Mersal-Id': id,
        'Mersal-Type': type,
        'Nats-Msg-Id': id,
      })
    }
  })
})
