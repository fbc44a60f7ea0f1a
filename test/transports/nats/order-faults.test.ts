import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect, type NatsConnection } from '@nats-io/transport-node'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Delivery, Disposition, Transport } from '../../../src/core/transport.ts'
import { nats, type NatsTransport } from '../../../src/nats.ts'
import { cut } from '../../nats/plain-client.ts'
import { natsIsHere, openNats, openPrivateNats } from '../../nats/server.ts'
import { moveOf } from '../../order/processes.ts'

const here = natsIsHere('any')
const mayKill = natsIsHere('private')
let server: Awaited<ReturnType<typeof openNats>>

beforeAll(async () => {
  if (here) server = await openNats()
})
afterAll(async () => {
  if (here) await server[Symbol.asyncDispose]()
})

/** `cutOff` loses the connection, `crash` ends it as if its process had been killed. */
function open(
  url = server.url,
  ackWaitMs = 2000,
): {
  readonly transport: NatsTransport
  readonly cutOff: () => void
  readonly crash: () => Promise<void>
} {
  const connections: NatsConnection[] = []
  const transport = nats({
    connect: async () => {
      const connection = await connect({ servers: url, reconnect: false })
      connections.push(connection)
      return connection
    },
    logger: false,
    partitions: 2,
    ackWaitMs,
    confirmTimeoutMs: 1500,
  })
  const cutOff = (): void => connections.splice(0).forEach(cut)
  const crash = async (): Promise<void> => {
    cutOff()
    await transport[Symbol.asyncDispose]()
  }
  return { transport, cutOff, crash }
}

/** Only ends what hangs. */
const patient = { timeout: 60_000 }

const never = new Promise<Disposition>(() => {})

const keyOf = ({ message }: Delivery): string => message.headers['partition-key'] ?? ''

async function send(transport: Transport, queue: string, key: string, number: number) {
  const [outcome] = transport.publish([moveOf(queue, key, number)])
  return await outcome!
}

/** One message for each key. */
async function filled(count: number): Promise<string> {
  const queue = `q-${randomUUID()}`
  await using transport = open().transport
  await transport.subscribe(queue, [])
  for (let number = 0; number < count; number++) await send(transport, queue, `key-${number}`, 0)
  return queue
}

/** Reads in order until the handler says that its process has died. */
async function untilCrash(
  queue: string,
  concurrency: number,
  handle: (delivery: Delivery, dies: () => void) => Promise<Disposition>,
): Promise<void> {
  const { transport, crash } = open()
  const { promise, resolve } = Promise.withResolvers<void>()
  const consumption = { queue, concurrency, orderPerKey: true }
  await transport.consume(consumption, (delivery) => handle(delivery, resolve))
  await promise
  await crash()
}

/** How often each message has been charged in the end. */
async function attempts(queue: string, count: number): Promise<Map<string, number>> {
  await using transport = open().transport
  const seen = new Map<string, number>()
  await transport.consume({ queue, concurrency: 10, orderPerKey: true }, async (delivery) => {
    seen.set(keyOf(delivery), delivery.attempt)
    return { kind: 'ack' }
  })
  await expect.poll(() => seen.size, patient).toBe(count)
  return seen
}

describe.skipIf(!here)('NATS in order, crashes of processes', { timeout: 240_000 }, () => {
  test('charge what was begun, and nothing that waited for a free hand', async () => {
    const queue = await filled(20)
    const begun = new Set<string>()
    for (let crashes = 0; crashes < 4; crashes++) {
      await untilCrash(queue, 1, (delivery, dies) => {
        begun.add(keyOf(delivery))
        setTimeout(dies, 500)
        return never
      })
    }
    const charged = [...(await attempts(queue, 20))].filter(([, attempt]) => attempt > 1)
    expect(charged.map(([key]) => key).filter((key) => !begun.has(key))).toEqual([])
    expect(charged.reduce((sum, [, attempt]) => sum + attempt - 1, 0)).toBeLessThanOrEqual(4)
    // The first crash makes it a suspect, each further one is charged.
    expect(Math.max(...charged.map(([, attempt]) => attempt))).toBeGreaterThan(1)
  })

  test('charge those beside the message that ends processes once at most', async () => {
    const queue = await filled(6)
    const killers: number[] = []
    while (killers.length < 5) {
      await untilCrash(queue, 6, async (delivery, dies) => {
        if (keyOf(delivery) !== 'key-3') {
          await sleep(300)
          return { kind: 'release' }
        }
        killers.push(delivery.attempt)
        dies()
        return await never
      })
    }
    expect(killers).toEqual([1, 1, 2, 3, 4])
    const seen = await attempts(queue, 6)
    expect(seen.get('key-3')).toBe(5)
    seen.delete('key-3')
    expect(Math.max(...seen.values())).toBeLessThanOrEqual(2)
  })

  test('charge nothing that a process gave back as it stopped', async () => {
    const queue = await filled(4)
    // One that ends without a word makes suspects of them all.
    await untilCrash(queue, 4, (_, dies) => {
      setTimeout(dies, 300)
      return never
    })
    for (let stops = 0; stops < 3; stops++) {
      await using transport = open().transport
      const begun = new Set<string>()
      const consumer = await transport.consume(
        { queue, concurrency: 4, orderPerKey: true },
        async (delivery) => {
          begun.add(keyOf(delivery))
          return { kind: 'release' }
        },
      )
      await expect.poll(() => begun.size, patient).toBe(4)
      await consumer[Symbol.asyncDispose]()
    }
    expect([...(await attempts(queue, 4)).values()]).toEqual([1, 1, 1, 1])
  })
})

/** What one reader has handled, while something goes wrong. */
function reading(transport: Transport, queue: string) {
  const numbers = new Map<string, number[]>()
  const running = new Map<string, number>()
  let [overlaps, given] = [0, 0]
  const consumption = { queue, concurrency: 20, orderPerKey: true }
  const begun = transport.consume(consumption, async (delivery) => {
    const key = keyOf(delivery)
    const { number } = JSON.parse(new TextDecoder().decode(delivery.message.body)) as {
      number: number
    }
    running.set(key, (running.get(key) ?? 0) + 1)
    if (running.get(key)! > 1) overlaps++
    await sleep(number % 5)
    if (delivery.signal.aborted) given++
    running.set(key, running.get(key)! - 1)
    if (number % 13 === 0 && delivery.attempt === 1)
      return { kind: 'retry', delayMs: 20, error: new Error('once more') }
    numbers.set(key, [...(numbers.get(key) ?? []), number])
    return { kind: 'ack' }
  })
  return {
    begun,
    count: () => [...numbers.values()].reduce((sum, list) => sum + new Set(list).size, 0),
    /** Of each key the first time of each number. */
    firsts: () => [...numbers.values()].map((list) => [...new Set(list)]),
    repeats: () => [...numbers.values()].reduce((sum, l) => sum + l.length - new Set(l).size, 0),
    overlaps: () => overlaps,
    given: () => given,
  }
}

const KEYS = 20

/** Sends rounds of one message for each key until it is told to stop; each until it is confirmed. */
async function sendUntil(transport: Transport, queue: string, stop: AbortSignal): Promise<number> {
  let sent = 0
  // Not faster than a busy machine handles them.
  for (; !stop.aborted; sent++, await sleep(60))
    await Promise.all(
      Array.from({ length: KEYS }, async (_, key) => {
        const message = moveOf(queue, `key-${key}`, sent)
        while ((await transport.publish([message])[0]!).kind !== 'confirmed') await sleep(50)
      }),
    )
  return sent
}

describe.skipIf(!here)('NATS in order', { timeout: 240_000 }, () => {
  test('a connection that is lost again and again costs no order, and ends no handler', async () => {
    const queue = `q-${randomUUID()}`
    await using sender = open().transport
    // No process is taken for dead, however busy the machine is.
    const { transport, cutOff } = open(server.url, 20_000)
    await using _ = transport
    await transport.subscribe(queue, [])
    const read = reading(transport, queue)
    await read.begun
    const enough = new AbortController()
    const sending = sendUntil(sender, queue, enough.signal)
    for (let cuts = 0; cuts < 5; cuts++) {
      const before = read.count()
      await expect.poll(() => read.count(), patient).toBeGreaterThan(before + 100)
      cutOff()
    }
    enough.abort()
    const wanted = Array.from({ length: await sending }, (__, number) => number)
    await expect.poll(() => read.count(), patient).toBe(wanted.length * KEYS)
    expect(read.firsts()).toEqual(Array.from({ length: KEYS }, () => wanted))
    expect([read.overlaps(), read.given()]).toEqual([0, 0])
  })

  test.skipIf(!mayKill)(
    'a server that is killed under load costs no message and no order',
    async () => {
      await using server = await openPrivateNats()
      const queue = `q-${randomUUID()}`
      await using sender = open(server.url).transport
      await using transport = open(server.url, 20_000).transport
      await transport.subscribe(queue, [])
      const read = reading(transport, queue)
      await read.begun
      const enough = new AbortController()
      const sending = sendUntil(sender, queue, enough.signal)
      for (let kills = 0; kills < 3; kills++) {
        const before = read.count()
        await expect.poll(() => read.count(), patient).toBeGreaterThan(before + 100)
        await server.signal('SIGKILL')
        if (kills === 1) await sleep(3000)
        await server.start()
      }
      enough.abort()
      const wanted = Array.from({ length: await sending }, (_, number) => number)
      await expect.poll(() => read.count(), patient).toBe(wanted.length * KEYS)
      expect(read.firsts()).toEqual(Array.from({ length: KEYS }, () => wanted))
    },
  )
})
