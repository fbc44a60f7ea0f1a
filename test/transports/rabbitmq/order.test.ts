import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import type { Transport } from '../../../src/core/transport.ts'
import { rabbitmq, type RabbitOptions, type RabbitTransport } from '../../../src/rabbitmq.ts'
import { serverAnswers, serverUrl, testDatabase } from '../../postgres/database.ts'
import { rabbitIsHere } from '../../rabbitmq/broker.ts'
import {
  countEffects,
  endWorker,
  makeTables,
  moveOf,
  startWorker,
} from '../../rabbitmq/order-processes.ts'
import type { OrderPlan } from '../../rabbitmq/order-worker.ts'
import { withVhost } from '../../rabbitmq/with-vhost.ts'

const here = (await rabbitIsHere()) && (await serverAnswers())
const place = withVhost(here)

const ACCOUNTS = 30
const TURNS = 4
const POISON = 10

function open(options: RabbitOptions = {}): RabbitTransport {
  return rabbitmq({ url: place.url, logger: false, newQueuePauseMs: 0, ...options })
}

const isPoison = (account: number, number: number): boolean =>
  account % 10 === 0 && number === POISON

function send(transport: Transport, queue: string, account: number, number: number) {
  const move = moveOf(queue, `account-${account}`, number, isPoison(account, number))
  return transport.publish([move])[0]!
}

describe.skipIf(!here)('RabbitMQ, order per key', () => {
  test('three processes, killed, stopped and frozen in turn, handle every message of a key once and in order', {
    timeout: 300_000,
  }, async () => {
    await using database = await testDatabase()
    const { schema } = database
    await makeTables(database)
    const queue = `q-${randomUUID()}`
    await using transport = open()
    const plan: OrderPlan = {
      url: place.url,
      database: serverUrl,
      schema: database.schema,
      name: queue,
      eventsExchange: `events-${queue}`,
    }
    const children = [await startWorker(plan)]
    children.push(...(await Promise.all([startWorker(plan), startWorker(plan)])))
    const calm = new AbortController()
    const nemesis = (async () => {
      for (let turn = 0; turn < TURNS && !calm.signal.aborted; turn++) {
        const child = children.shift()!
        if (turn % 3 === 2) {
          child.kill('SIGSTOP')
          await sleep(4000)
          child.kill('SIGCONT')
          children.push(child)
        } else {
          await endWorker(child, turn % 3 === 0 ? 'SIGKILL' : 'SIGTERM')
          children.push(await startWorker(plan))
        }
        await sleep(1500)
      }
      calm.abort()
    })()
    let sent = 0
    try {
      while (!calm.signal.aborted || sent < 2 * POISON) {
        const number = ++sent
        const outcomes = await Promise.all(
          Array.from({ length: ACCOUNTS }, (_, account) => send(transport, queue, account, number)),
        )
        expect(outcomes.filter(({ kind }) => kind !== 'confirmed')).toEqual([])
        await sleep(300)
      }
      await nemesis
      const wanted = ACCOUNTS * sent - ACCOUNTS / 10
      const deadline = Date.now() + 120_000
      while ((await countEffects(database)) < wanted && Date.now() < deadline) await sleep(200)
      expect(await countEffects(database)).toBe(wanted)
      const wrong = await database.query(
        `select * from ${schema}.effects where earlier <> number - 1 -
           case when number > ${POISON} and account in ('account-0', 'account-10', 'account-20') then 1 else 0 end`,
      )
      expect(wrong).toEqual([])
      const letters = await transport.deadLettersOf(queue).list()
      expect(letters).toHaveLength(3)
      expect(new Set(letters.map(({ headers }) => headers['partition-key']))).toEqual(
        new Set(['account-0', 'account-10', 'account-20']),
      )
      // Three deliveries as the options say, and what each of the turns may have cut short.
      const tries = await database.query(
        `select account, number, count(*)::int as tries from ${schema}.tries group by account, number`,
      )
      expect(tries.map(({ number }) => number)).toEqual([POISON, POISON, POISON])
      for (const row of tries) {
        expect(row['tries']).toBeGreaterThanOrEqual(3)
        expect(row['tries']).toBeLessThanOrEqual(3 + TURNS)
      }
      const processes = await database.query(`select distinct process from ${schema}.effects`)
      expect(processes.length).toBeGreaterThan(3)
    } finally {
      calm.abort()
      await nemesis
      await Promise.all(children.map((child) => endWorker(child, 'SIGKILL')))
    }
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
