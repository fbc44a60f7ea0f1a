import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Delivery, Disposition, Transport } from '../../../src/core/transport.ts'
import { redis, type RedisOptions, type RedisTransport } from '../../../src/redis.ts'
import { moveOf } from '../../order/processes.ts'
import { threeProcesses } from '../../order/three-processes.ts'
import { serverAnswers } from '../../postgres/database.ts'
import { redisCli } from '../../redis/plain-client.ts'
import { openPrivateRedis, type PrivateRedis, redisIsHere } from '../../redis/server.ts'

const here = redisIsHere()
const withDatabase = here && (await serverAnswers())
let server: PrivateRedis

beforeAll(async () => {
  if (here) server = await openPrivateRedis({})
})
afterAll(async () => {
  if (here) await server[Symbol.asyncDispose]()
})

const numberOf = ({ message }: Delivery): number =>
  (JSON.parse(new TextDecoder().decode(message.body)) as { number: number }).number

const open = (options: RedisOptions = {}): RedisTransport =>
  redis({ url: server.url, logger: false, visibilityMs: 1000, ...options })

const keyOf = (kind: string, queue: string): string => `{mersal}:${kind}:${queue}`

/** Sends these numbers of one account, in their order. */
async function send(
  transport: Transport,
  queue: string,
  account: string,
  numbers: readonly number[],
): Promise<void> {
  const outcomes = await Promise.all(
    transport.publish(numbers.map((number) => moveOf(queue, account, number))),
  )
  expect(outcomes.filter(({ kind }) => kind !== 'confirmed')).toEqual([])
}

const upTo = (count: number): readonly number[] => Array.from({ length: count }, (_, n) => n)

/** Only ends what hangs. */
const patient = { timeout: 60_000 }

async function queueOn(transport: Transport): Promise<string> {
  const queue = `q-${randomUUID()}`
  await transport.subscribe(queue, [])
  return queue
}

/** Handles what comes, and notes the numbers. */
function reading(
  transport: Transport,
  queue: string,
  { orderPerKey = true, handle = (_: Delivery): Promise<void> | void => {} } = {},
) {
  const numbers: number[] = []
  const onDelivery = async (delivery: Delivery): Promise<Disposition> => {
    await handle(delivery)
    numbers.push(numberOf(delivery))
    return { kind: 'ack' }
  }
  const consumer = transport.consume({ queue, concurrency: 10, orderPerKey }, onDelivery)
  return { numbers, consumer }
}

describe.skipIf(!here)('Redis, order per key', { timeout: 120_000 }, () => {
  test.skipIf(!withDatabase)(
    'P2 P4 P5: three processes, killed, stopped and frozen in turn, handle every message of a key once and in order',
    { timeout: 300_000 },
    async () => {
      await using transport = open()
      const queue = await queueOn(transport)
      await threeProcesses({
        transport,
        queue,
        broker: { kind: 'redis', url: server.url },
        freezeMs: 8000,
        lettersOf: (name) => transport.deadLettersOf(name),
      })
    },
  )

  test('P5 P8: many messages of one key are handled one after the other, and those of others beside them', async () => {
    await using transport = open()
    const queue = await queueOn(transport)
    const gate = Promise.withResolvers<void>()
    await send(transport, queue, 'hot', upTo(700))
    await send(transport, queue, 'other', [10_000])
    const { numbers, consumer } = reading(transport, queue, {
      handle: (delivery) => (numberOf(delivery) === 0 ? gate.promise : undefined),
    })
    await using _ = await consumer
    await expect.poll(() => numbers, patient).toEqual([10_000])
    gate.resolve()
    await expect.poll(() => numbers.length, patient).toBe(701)
    expect(numbers).toEqual([10_000, ...upTo(700)])
  })

  test('P5: what waited before the queue was read in order comes before what is sent later', async () => {
    await using transport = open()
    const queue = await queueOn(transport)
    await send(transport, queue, 'a', upTo(20))
    const { numbers, consumer } = reading(transport, queue)
    await using _ = await consumer
    await send(
      transport,
      queue,
      'a',
      upTo(20).map((number) => number + 20),
    )
    await expect.poll(() => numbers.length, patient).toBe(40)
    expect(numbers).toEqual(upTo(40))
  })

  test('P5: a consumer that does not ask for the order keeps it beside one that does', async () => {
    await using transport = open()
    await using other = open()
    const queue = await queueOn(transport)
    const inHand = new Set<number>()
    let together = 0
    const handle = async (delivery: Delivery): Promise<void> => {
      inHand.add(numberOf(delivery))
      together = Math.max(together, inHand.size)
      await new Promise((resolve) => setTimeout(resolve, 1))
      inHand.delete(numberOf(delivery))
    }
    const first = reading(transport, queue, { handle })
    await using _first = await first.consumer
    const second = reading(other, queue, { handle, orderPerKey: false })
    await using _second = await second.consumer
    await send(transport, queue, 'a', upTo(200))
    const handled = (): number => first.numbers.length + second.numbers.length
    await expect.poll(handled, patient).toBe(200)
    expect(together).toBe(1)
    expect(first.numbers).toEqual(first.numbers.toSorted((one, two) => one - two))
  })

  test.each(['state', 'keys', 'due'])(
    'P2: nothing is lost when somebody deletes %s while messages wait behind others',
    async (kind) => {
      await using transport = open()
      const queue = await queueOn(transport)
      const gate = Promise.withResolvers<void>()
      await send(transport, queue, 'a', upTo(10))
      const { numbers, consumer } = reading(transport, queue, {
        handle: (delivery) => (numberOf(delivery) === 0 ? gate.promise : undefined),
      })
      await using _ = await consumer
      const waiting = (): Promise<unknown> =>
        redisCli(server.url, 'HGET', keyOf('keys', queue), '#')
      await expect.poll(waiting, patient).toBe('9')
      await redisCli(server.url, 'DEL', keyOf(kind, queue))
      // A queue that has lost its times is read from the beginning, as after a loss of its group.
      if (kind === 'due')
        await redisCli(server.url, 'XGROUP', 'DESTROY', keyOf('queue', queue), 'mersal')
      gate.resolve()
      await expect.poll(() => new Set(numbers).size, patient).toBe(10)
    },
  )

  test('what has been handled leaves only the sign that the queue is read in order', async () => {
    await using transport = open()
    const queue = await queueOn(transport)
    await send(transport, queue, 'a', upTo(20))
    const { numbers, consumer } = reading(transport, queue)
    const reader = await consumer
    await expect.poll(() => numbers.length, patient).toBe(20)
    await reader[Symbol.asyncDispose]()
    const keys = (await redisCli(server.url, 'KEYS', `*:${queue}`)) as string[]
    expect(keys.toSorted()).toEqual([keyOf('keys', queue), keyOf('queue', queue)])
    expect(await redisCli(server.url, 'HGETALL', keyOf('keys', queue))).toEqual({ on: '1' })
    await expect.poll(() => transport.removeQueue(queue), patient).toEqual({ kind: 'removed' })
    expect(await redisCli(server.url, 'KEYS', `*:${queue}`)).toEqual([])
  })
})
