import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Delivery, Disposition, Transport } from '../../../src/core/transport.ts'
import { nats, type NatsOptions, type NatsTransport } from '../../../src/nats.ts'
import { plainClient } from '../../nats/plain-client.ts'
import { natsIsHere, openNats } from '../../nats/server.ts'
import { moveOf } from '../../order/processes.ts'
import { threeProcesses } from '../../order/three-processes.ts'
import { serverAnswers } from '../../postgres/database.ts'

const here = natsIsHere('any')
const withDatabase = here && (await serverAnswers())
let server: Awaited<ReturnType<typeof openNats>>

beforeAll(async () => {
  if (here) server = await openNats()
})
afterAll(async () => {
  if (here) await server[Symbol.asyncDispose]()
})

const ack = async (): Promise<Disposition> => ({ kind: 'ack' })

const numberOf = ({ message }: Delivery): number =>
  (JSON.parse(new TextDecoder().decode(message.body)) as { number: number }).number

function open(options: NatsOptions = {}): NatsTransport {
  return nats({ url: server.url, logger: false, ackWaitMs: 1000, ...options })
}

function send(transport: Transport, queue: string, account: number, number: number) {
  return transport.publish([moveOf(queue, `account-${account}`, number)])[0]!
}

/** Only ends what hangs. */
const patient = { timeout: 60_000 }

const newQueue = (): string => `q-${randomUUID()}`

describe.skipIf(!here)('NATS, order per key', { timeout: 120_000 }, () => {
  test.skipIf(!withDatabase)(
    'three processes, killed, stopped and frozen in turn, handle every message of a key once and in order',
    {
      timeout: 300_000,
    },
    async () => {
      const queue = newQueue()
      await using transport = open()
      await threeProcesses({
        transport,
        queue,
        broker: { kind: 'nats', url: server.url },
        freezeMs: 8000,
        lettersOf: (name) => transport.deadLettersOf(name),
      })
    },
  )

  test('partitions are shared among the consumers, and those of one that goes go to the others', async () => {
    const queue = newQueue()
    const seen = new Map<string, Set<string>>()
    const reader = async (name: string) => {
      const transport = open({ partitions: 8 })
      await transport.subscribe(queue, [])
      const mine = new Set<string>()
      seen.set(name, mine)
      await transport.consume({ queue, concurrency: 10, orderPerKey: true }, async (delivery) => {
        mine.add(delivery.message.headers['partition-key'] ?? '')
        return { kind: 'ack' }
      })
      return transport
    }
    await using first = await reader('first')
    const second = await reader('second')
    let account = 0
    const sendSome = () =>
      Promise.all(Array.from({ length: 20 }, () => send(first, queue, account++ % 200, 1)))
    const bothRead = async (): Promise<boolean> => {
      await sendSome()
      return [...seen.values()].every(({ size }) => size > 50)
    }
    await expect
      .poll(async () => {
        await sendSome()
        return seen.get('second')?.size
      }, patient)
      .toBeGreaterThan(50)
    for (const each of seen.values()) each.clear()
    await expect.poll(bothRead, patient).toBe(true)
    await second[Symbol.asyncDispose]()
    seen.get('first')?.clear()
    await Promise.all(Array.from({ length: 200 }, (_, each) => send(first, queue, each, 2)))
    await expect.poll(() => seen.get('first')?.size, patient).toBe(200)
  })

  test('messages that were in the queue before it was read in order are handled in order, and before later ones', async () => {
    const queue = newQueue()
    await using transport = open()
    await transport.subscribe(queue, [])
    for (let number = 0; number < 20; number++) await send(transport, queue, 1, number)
    const numbers: number[] = []
    await using _ = await transport.consume(
      { queue, concurrency: 10, orderPerKey: true },
      async (delivery) => {
        numbers.push(numberOf(delivery))
        return { kind: 'ack' }
      },
    )
    for (let number = 20; number < 40; number++) await send(transport, queue, 1, number)
    await expect.poll(() => numbers.length, patient).toBe(40)
    expect(numbers).toEqual(Array.from({ length: 40 }, (_item, number) => number))
  })

  test('those that read in order wait until the last one that does not has stopped', async () => {
    const queue = newQueue()
    await using old = open()
    await using transport = open()
    await old.subscribe(queue, [])
    const gate = Promise.withResolvers<Disposition>()
    const before: number[] = []
    const consumer = await old.consume({ queue, concurrency: 1 }, (delivery) => {
      before.push(numberOf(delivery))
      return gate.promise
    })
    for (let number = 0; number < 3; number++) await send(transport, queue, 1, number)
    await expect.poll(() => before, patient).toEqual([0])
    const numbers: number[] = []
    await using _ = await transport.consume(
      { queue, concurrency: 10, orderPerKey: true },
      async (delivery) => {
        numbers.push(numberOf(delivery))
        return { kind: 'ack' }
      },
    )
    gate.resolve({ kind: 'release' })
    await consumer[Symbol.asyncDispose]()
    await expect.poll(() => numbers, patient).toEqual([0, 1, 2].slice(before.length - 1))
  })

  test('another number of partitions, and a consumer that keeps no order beside others, are refused', async () => {
    const queue = newQueue()
    const ordered = { queue, concurrency: 1, orderPerKey: true }
    await using transport = open({ partitions: 4 })
    await transport.subscribe(queue, [])
    await using _ = await transport.consume(ordered, ack)
    await using other = open({ partitions: 5 })
    await expect(other.consume(ordered, ack)).rejects.toMatchObject({
      code: 'MERSAL_INVALID_OPTIONS',
      details: { field: 'nats.partitions' },
    })
    await other.subscribe(queue, [])
    await expect(other.consume({ queue, concurrency: 1 }, ack)).rejects.toMatchObject({
      code: 'MERSAL_INVALID_OPTIONS',
      details: { field: 'receive.orderPerKey' },
    })
  })

  test('a queue whose partitions are empty is read without an order again, also after a crash', async () => {
    const queue = newQueue()
    await using transport = open({ partitions: 2 })
    await transport.subscribe(queue, [])
    const consumer = await transport.consume({ queue, concurrency: 1, orderPerKey: true }, ack)
    await consumer[Symbol.asyncDispose]()
    await using plain = await plainClient(server.url)
    const stream = `mersal-queue-${queue}`
    // As a process leaves it that was killed.
    await plain.manager.consumers.add(stream, {
      durable_name: 'mersal-split-0123456789ab-1',
      ack_policy: 'explicit',
    })
    const numbers: number[] = []
    await using _ = await transport.consume({ queue, concurrency: 1 }, async (delivery) => {
      numbers.push(numberOf(delivery))
      return { kind: 'ack' }
    })
    await send(transport, queue, 1, 7)
    await expect.poll(() => numbers, patient).toEqual([7])
  })

  test('operators see what waits in the partitions, and the queue goes with them', async () => {
    const queue = newQueue()
    await using transport = open({ partitions: 2 })
    await transport.subscribe(queue, [])
    const consumer = await transport.consume(
      { queue, concurrency: 10, orderPerKey: true },
      async ({ message }) =>
        message.headers['partition-key'] === 'account-1'
          ? { kind: 'retry', delayMs: 600_000, error: new Error('later') }
          : { kind: 'ack' },
    )
    await Promise.all(
      [1, 1, 1, 2].map((account, number) => send(transport, queue, account, number)),
    )
    const waiting = async (): Promise<number | undefined> =>
      (await transport.operations.queues({ names: [queue] })).find((each) => each.queue === queue)
        ?.waiting
    await expect.poll(waiting, patient).toBe(3)
    expect(await transport.removeQueue(queue)).toMatchObject({ kind: 'kept' })
    await consumer[Symbol.asyncDispose]()
    expect(await transport.removeQueue(queue)).toMatchObject({ kind: 'kept' })
    await using plain = await plainClient(server.url)
    await plain.manager.streams.purge(`mersal-order-${queue}`)
    expect(await transport.removeQueue(queue)).toEqual({ kind: 'removed' })
    const names: string[] = []
    for await (const name of plain.manager.streams.names()) names.push(name)
    expect(names.filter((name) => name.includes(queue))).toEqual([])
    const state = await plain.read('mersal-state')
    expect(state.filter(({ subject }) => subject.includes(`${queue}@`))).toEqual([])
  })
})
