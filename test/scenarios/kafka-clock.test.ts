import { randomUUID } from 'node:crypto'
import { setTimeout as wait } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { kafka } from '../../src/kafka.ts'
import { kafkaIsHere, openPrivateKafka, type PrivateKafka } from '../kafka/server.ts'

const here = kafkaIsHere()
let server: PrivateKafka
let count = 0

beforeAll(async () => {
  if (here) server = await openPrivateKafka()
}, 120_000)
afterAll(async () => {
  if (here) await server[Symbol.asyncDispose]()
})

const message = () => ({
  id: randomUUID(),
  type: 'type',
  headers: {},
  body: Buffer.from('{}'),
  partitionKey: 'key',
  to: { transport: 'default', kind: 'queue', name: 'q' } as const,
})

describe.skipIf(!here)('a clock that is far from that of the broker', () => {
  afterEach(() => vi.restoreAllMocks())

  test.each([86_400_000, -86_400_000, 315_360_000_000])(
    'by %i ms charges no message: all are confirmed, in order, and a dead letter is kept',
    async (ms) => {
      const now = Date.now.bind(Date)
      await using transport = kafka({
        bootstrapServers: server.server,
        prefix: `clock${++count}`,
        partitions: 1,
        logger: false,
      })
      await transport.subscribe('q', [])
      vi.spyOn(Date, 'now').mockImplementation(() => now() + ms)
      const sent = Array.from({ length: 5 }, message)
      const outcomes = await Promise.all(transport.publish(sent))
      expect(outcomes.map(({ kind }) => kind)).toEqual(sent.map(() => 'confirmed'))
      const handled: string[] = []
      await using _consumption = await transport.consume({ queue: 'q', concurrency: 1 }, (one) => {
        handled.push(one.message.id)
        return Promise.resolve({ kind: 'reject', reason: 'rejected', error: new Error('no') })
      })
      const box = transport.deadLettersOf('q')
      while ((await box.list()).length < sent.length) await wait(20)
      expect(handled).toEqual(sent.map(({ id }) => id))
    },
  )
})
