import { setTimeout as wait } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { OutgoingMessage } from '../../src/core/messages/message.ts'
import { nats, type NatsOptions, type NatsTransport } from '../../src/nats.ts'
import { type PlainClient, plainClient } from '../nats/plain-client.ts'
import { natsIsHere, openPrivateNats, type PrivateNats } from '../nats/server.ts'
import { hasty } from '../nats/traffic.ts'

const here = natsIsHere()
const stack = new AsyncDisposableStack()
let server: PrivateNats
let plain: PlainClient

beforeAll(async () => {
  if (!here) return
  server = stack.use(await openPrivateNats())
  plain = stack.use(await plainClient(server.url))
})
afterAll(() => stack.disposeAsync())

/** Long enough that every repetition falls into the window. */
const open = (prefix: string, more: NatsOptions = {}): NatsTransport =>
  nats({ url: server.url, ...hasty, duplicateWindowMs: 600_000, prefix, ...more })

function message(id: string, kind: 'queue' | 'topic' = 'queue', name = 'q'): OutgoingMessage {
  const to = { transport: 'default', kind, name } as const
  return { id, type: 'type', headers: {}, body: Buffer.from('{}'), to }
}

async function kindsOf(transport: NatsTransport, ...messages: OutgoingMessage[]) {
  return (await Promise.all(transport.publish(messages))).map(({ kind }) => kind)
}

async function idsIn(stream: string): Promise<(string | undefined)[]> {
  return (await plain.read(stream)).map(({ headers }) => headers['Mersal-Id'])
}

async function letters(transport: NatsTransport, count: number) {
  for (;;) {
    const found = await transport.deadLetters.list()
    if (found.length === count) return found
    await wait(20)
  }
}

/** Gives everything up. */
const refuse = () =>
  Promise.resolve({ kind: 'reject', reason: 'rejected', error: new Error('no') } as const)

describe.skipIf(!here)('within the window for duplicates of NATS (P2)', () => {
  test('what lies in its stream is not stored twice', async () => {
    await using transport = open('twice')
    await transport.subscribe('q', [])
    expect(await kindsOf(transport, message('1'))).toEqual(['confirmed'])
    expect(await kindsOf(transport, message('1'))).toEqual(['confirmed'])
    expect(await idsIn('twice-queue-q')).toEqual(['1'])
  })

  test('what somebody has purged is stored when it is published again', async () => {
    await using transport = open('purged')
    await transport.subscribe('q', [])
    await kindsOf(transport, message('1'), message('2'))
    await plain.manager.streams.purge('purged-queue-q')
    expect(await kindsOf(transport, message('1'), message('2'))).toEqual(['confirmed', 'confirmed'])
    expect(new Set(await idsIn('purged-queue-q'))).toEqual(new Set(['1', '2']))
    expect(await kindsOf(transport, message('1'))).toEqual(['confirmed'])
  })

  test('what was handled and is replayed with its id comes again', async () => {
    await using transport = open('replayed')
    await transport.subscribe('q', [])
    const handled: string[] = []
    await using _consumption = await transport.consume(
      { queue: 'q', concurrency: 1 },
      (delivery) => {
        handled.push(delivery.message.id)
        return Promise.resolve({ kind: 'ack' })
      },
    )
    for (let times = 1; times <= 3; times++) {
      expect(await kindsOf(transport, message('1'))).toEqual(['confirmed'])
      while (handled.length < times) await wait(10)
    }
    expect(handled).toEqual(['1', '1', '1'])
  })

  test('an event that a full queue holds up is not stored again in the others, however often it is tried', async () => {
    await using transport = open('partly')
    await using small = open('partly', { maxQueueBytes: 1024 })
    await transport.subscribe('q', ['topic'])
    await small.subscribe('small', ['topic'])
    const handled: string[] = []
    await using _consumption = await transport.consume(
      { queue: 'q', concurrency: 1 },
      (delivery) => {
        handled.push(delivery.message.id)
        return Promise.resolve({ kind: 'ack' })
      },
    )
    const filler = { ...message('filler', 'queue', 'small'), body: Buffer.alloc(700) }
    expect(await kindsOf(transport, filler)).toEqual(['confirmed'])
    const event = { ...message('event', 'topic', 'topic'), body: Buffer.alloc(700) }
    for (let times = 1; times <= 5; times++)
      expect(await kindsOf(transport, event)).toEqual(['unknown'])
    await plain.manager.streams.purge('partly-queue-small')
    expect(await kindsOf(transport, event)).toEqual(['confirmed'])
    expect(await idsIn('partly-queue-small')).toEqual(['event'])
    await wait(200)
    expect(handled).toEqual(['event'])
  })

  test('two ids of which one looks like the other one encoded are two messages', async () => {
    await using transport = open('encoded')
    await transport.subscribe('q', [])
    const ids = ['a ', 'a%20', 'a%2520', 'ü', '%C3%BC', 'ü ']
    expect(new Set(await kindsOf(transport, ...ids.map((id) => message(id))))).toEqual(
      new Set(['confirmed']),
    )
    const { state } = await plain.manager.streams.info('encoded-queue-q')
    expect(state.messages).toBe(ids.length)
  })

  test('a dead letter is put back each time that it is retried', async () => {
    await using transport = open('retried')
    await transport.subscribe('q', [])
    await using _consumption = await transport.consume({ queue: 'q', concurrency: 1 }, refuse)
    await kindsOf(transport, message('1'))
    for (let times = 1; times <= 3; times++) {
      const [letter] = await letters(transport, 1)
      expect(await transport.deadLetters.retry([letter?.key ?? ''])).toBe(1)
    }
    expect(await letters(transport, 1)).toMatchObject([{ id: '1' }])
  })

  test('also when the stream of dead letters was deleted in between, so that its places come again', async () => {
    await using transport = open('reborn')
    await transport.subscribe('q', [])
    for (let times = 1; times <= 2; times++) {
      {
        await using _consumption = await transport.consume({ queue: 'q', concurrency: 1 }, refuse)
        if (times === 1) await kindsOf(transport, message('1'))
        await letters(transport, 1)
      }
      const [letter] = await letters(transport, 1)
      expect(letter).toMatchObject({ id: '1', key: '1' })
      expect(await transport.deadLetters.retry(['1'])).toBe(1)
      expect(await idsIn('reborn-queue-q')).toEqual(['1'])
      await plain.manager.streams.delete('reborn-dead')
    }
  })
})
