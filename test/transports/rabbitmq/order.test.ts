import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import type { Transport } from '../../../src/core/transport.ts'
import { rabbitmq, type RabbitOptions, type RabbitTransport } from '../../../src/rabbitmq.ts'
import { serverAnswers } from '../../postgres/database.ts'
import { rabbitIsHere } from '../../rabbitmq/broker.ts'
import { moveOf } from '../../order/processes.ts'
import { threeProcesses } from '../../order/three-processes.ts'
import { withVhost } from '../../rabbitmq/with-vhost.ts'

const here = (await rabbitIsHere()) && (await serverAnswers())
const place = withVhost(here)

function open(options: RabbitOptions = {}): RabbitTransport {
  return rabbitmq({ url: place.url, logger: false, newQueuePauseMs: 0, ...options })
}

function send(transport: Transport, queue: string, account: number, number: number) {
  const move = moveOf(queue, `account-${account}`, number)
  return transport.publish([move])[0]!
}

describe.skipIf(!here)('RabbitMQ, order per key', () => {
  test('three processes, killed, stopped and frozen in turn, handle every message of a key once and in order', {
    timeout: 300_000,
  }, async () => {
    const queue = `q-${randomUUID()}`
    await using transport = open()
    await threeProcesses({
      transport,
      queue,
      broker: { kind: 'rabbitmq', url: place.url, eventsExchange: `events-${queue}` },
      freezeMs: 4000,
      lettersOf: (name) => transport.deadLettersOf(name),
    })
  })

  test('partitions are shared among the consumers, and those of one that goes go to the others', async () => {
    const queue = `q-${randomUUID()}`
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
    const sendAll = async () => {
      for (const each of seen.values()) each.clear()
      await Promise.all(Array.from({ length: 200 }, (_, account) => send(first, queue, account, 1)))
    }
    await expect
      .poll(
        async () => {
          await sendAll()
          await sleep(300)
          return [...seen.values()].map(({ size }) => size > 50)
        },
        { timeout: 15_000 },
      )
      .toEqual([true, true])
    await second[Symbol.asyncDispose]()
    await sendAll()
    await expect.poll(() => seen.get('first')?.size, { timeout: 15_000 }).toBe(200)
  })

  test('messages that were in the queue before it was read in order are handled in order', async () => {
    const queue = `q-${randomUUID()}`
    await using transport = open({ bundles: { messages: 5 } })
    await transport.subscribe(queue, [])
    for (let number = 0; number < 20; number++) await send(transport, queue, 1, number)
    const numbers: number[] = []
    await using _ = await transport.consume(
      { queue, concurrency: 10, orderPerKey: true },
      async ({ message }) => {
        numbers.push(
          (JSON.parse(new TextDecoder().decode(message.body)) as { number: number }).number,
        )
        return { kind: 'ack' }
      },
    )
    await expect.poll(() => numbers.length, { timeout: 10_000 }).toBe(20)
    expect(numbers).toEqual(Array.from({ length: 20 }, (_item, number) => number))
  })

  test('another number of partitions, and a consumer that keeps no order beside others, are refused', async () => {
    const queue = `q-${randomUUID()}`
    const ordered = { queue, concurrency: 1, orderPerKey: true }
    const ack = async () => ({ kind: 'ack' }) as const
    await using transport = open({ partitions: 4 })
    await transport.subscribe(queue, [])
    await using _ = await transport.consume(ordered, ack)
    await using other = open({ partitions: 5 })
    await expect(other.consume(ordered, ack)).rejects.toMatchObject({
      code: 'MERSAL_INVALID_OPTIONS',
      details: { field: 'rabbitmq.partitions' },
    })
    await expect(other.consume({ queue, concurrency: 1 }, ack)).rejects.toMatchObject({
      code: 'MERSAL_INVALID_OPTIONS',
      details: { field: 'receive.orderPerKey' },
    })
    await expect(transport.consume(ordered, ack)).rejects.toMatchObject({
      code: 'MERSAL_INVALID_OPTIONS',
      details: { field: 'receive.orderPerKey' },
    })
  })
})
