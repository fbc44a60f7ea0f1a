import { randomUUID } from 'node:crypto'
import { setTimeout as wait } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { kafka } from '../../src/kafka.ts'
import { systemClock } from '../../src/lib/async/clock.ts'
import { plainClient } from '../kafka/plain-client.ts'
import { kafkaIsHere, openPrivateKafka, type PrivateKafka } from '../kafka/server.ts'

const DAY_MS = 86_400_000
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

/** A queue of its own, and the lines that its transport has logged. */
async function openQueue() {
  const warnings: string[] = []
  const note = (_: unknown, text: string): unknown => warnings.push(text)
  const prefix = `clock${++count}`
  const transport = kafka({
    bootstrapServers: server.server,
    prefix,
    partitions: 1,
    logger: { debug() {}, info() {}, warn: note, error: note },
  })
  await transport.subscribe('q', [])
  const publish = async (): Promise<readonly string[]> => {
    const sent = Array.from({ length: 5 }, message)
    const outcomes = await Promise.all(transport.publish(sent))
    expect(outcomes.map(({ kind }) => kind)).toEqual(sent.map(() => 'confirmed'))
    return sent.map(({ id }) => id)
  }
  return { transport, topic: `${prefix}.queue.q`, warnings, publish }
}

describe.skipIf(!here)('a clock that is far from that of the broker', () => {
  afterEach(() => vi.restoreAllMocks())

  test.each([DAY_MS, -DAY_MS, 3650 * DAY_MS])(
    'P2, P5: by %i ms it charges no message: all are confirmed, in order, once, and dead letters are kept',
    async (ms) => {
      const now = Date.now.bind(Date)
      const { transport, topic, publish } = await openQueue()
      await using _ = transport
      vi.spyOn(Date, 'now').mockImplementation(() => now() + ms)
      const sent = await publish()
      await using plain = await plainClient(server.server)
      const stored = await plain.all(topic)
      expect(stored.map(({ headers }) => headers['mersal-id'])).toEqual(sent)
      const handled: string[] = []
      await using _consumption = await transport.consume({ queue: 'q', concurrency: 1 }, (one) => {
        handled.push(one.message.id)
        return Promise.resolve({ kind: 'reject', reason: 'rejected', error: new Error('no') })
      })
      const box = transport.deadLettersOf('q')
      while ((await box.list()).length < sent.length) await wait(20)
      expect(handled).toEqual(sent)
    },
  )

  test('leaves records without a time for a minute, and the log says so once', async () => {
    const [now, monotonic] = [Date.now.bind(Date), systemClock.monotonic.bind(systemClock)]
    const { transport, topic, warnings, publish } = await openQueue()
    await using _ = transport
    const wall = vi.spyOn(Date, 'now').mockImplementation(() => now() + DAY_MS)
    await publish()
    await publish()
    wall.mockRestore()
    await publish()
    vi.spyOn(systemClock, 'monotonic').mockImplementation(() => monotonic() + 61_000)
    await publish()
    await using plain = await plainClient(server.server)
    const times = (await plain.all(topic)).map(({ timestamp }) => timestamp)
    expect(times.slice(0, 15)).toEqual(Array.from({ length: 15 }, () => -1))
    expect(times).toHaveLength(20)
    for (const time of times.slice(15)) expect(Math.abs(time - now())).toBeLessThan(60_000)
    expect(warnings.filter((text) => text.includes('refuses the time'))).toHaveLength(1)
  })
})
