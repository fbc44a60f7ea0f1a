import { setTimeout as wait } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  AckPolicy,
  type ConsumerConfig,
  DeliverPolicy,
  DiscardPolicy,
  RetentionPolicy,
  type StreamConfig,
} from '@nats-io/jetstream'
import type { OutgoingMessage } from '../../src/core/messages/message.ts'
import { nats, type NatsOptions, type NatsTransport } from '../../src/nats.ts'
import { type PlainClient, plainClient } from '../nats/plain-client.ts'
import { natsIsHere, openPrivateNats, type PrivateNats } from '../nats/server.ts'
import { hasty } from '../nats/traffic.ts'

const here = natsIsHere()
const stack = new AsyncDisposableStack()
let server: PrivateNats
let accounts: PrivateNats
let plain: PlainClient

beforeAll(async () => {
  if (!here) return
  server = stack.use(await openPrivateNats())
  plain = stack.use(await plainClient(server.url))
  const account = (name: string, user: string, limits: string): string =>
    `${name} { users [ { user: ${name}, password: ${name}${user} } ], jetstream ${limits} }`
  accounts = stack.use(
    await openPrivateNats({
      config: [
        `accounts { ${account('small', '', '{ max_file: 200KB, max_mem: 1MB }')}, ${account(
          'mute',
          ', permissions: { publish: { allow: ["$JS.>", "mersal.topic.>"] } }',
          'enabled',
        )}, ${account('limited', '', '{ max_file: 10MB, max_bytes: true }')} }`,
      ],
    }),
  )
})
afterAll(() => stack.disposeAsync())

const open = (prefix: string, more: NatsOptions = {}): NatsTransport =>
  nats({ url: server.url, ...hasty, prefix, ...more })
const openAs = (account: string): NatsTransport =>
  nats({ url: `nats://${account}:${account}@127.0.0.1:${accounts.port}`, ...hasty })

function toQueue(id: string, bytes = 2): OutgoingMessage {
  const to = { transport: 'default', kind: 'queue', name: 'q' } as const
  return { id, type: 'type', headers: {}, body: Buffer.alloc(bytes, '1'), to }
}

async function mistakeOf(transport: NatsTransport): Promise<unknown> {
  await using _transport = transport
  const error: unknown = await transport.subscribe('q', []).catch((thrown: unknown) => thrown)
  const { code, details, message } = error as Error & { code?: unknown; details?: object }
  return { code, ...details, message }
}

const mistake = (field: string, text: string): unknown => ({
  code: 'MERSAL_INVALID_OPTIONS',
  field: `nats.${field}`,
  message: expect.stringContaining(text),
})

describe.skipIf(!here)('a mistake that waiting does not fix fails the start and names', () => {
  test('the prefix, when another stream takes its subjects', async () => {
    await plain.manager.streams.add({ name: 'everything', subjects: ['over.>'] })
    expect(await mistakeOf(open('over'))).toEqual(
      mistake('prefix', 'another stream of the account takes these subjects'),
    )
  })

  test('the replicas, when there is no cluster', async () => {
    expect(await mistakeOf(open('several', { replicas: 3 }))).toEqual(
      mistake('replicas', 'more than 1 needs a cluster'),
    )
  })

  test('an account that wants a limit for every stream', async () => {
    expect(await mistakeOf(openAs('limited'))).toEqual(mistake('prefix', 'max_bytes of JetStream'))
  })

  test.each([
    ['no_ack', 'it answers no publish'],
    ['sealed', 'it takes nothing'],
    ['deny_delete', 'no dead letter can be removed'],
    ['deny_purge', 'no subscription can be taken back'],
  ] as const)('%s of a stream: %s', async (field, _why) => {
    const prefix = field
    await plain.manager.streams.add({
      name: `${prefix}-queue-q`,
      subjects: [`${prefix}.queue.q`],
      retention: RetentionPolicy.Workqueue,
      discard: DiscardPolicy.New,
      ...(field === 'sealed' ? {} : { [field]: true }),
    })
    if (field === 'sealed') {
      const sealed: Partial<StreamConfig> = { sealed: true }
      await plain.manager.streams.update(`${prefix}-queue-q`, sealed)
    }
    // A sealed stream has more that differs, such as `deny_delete`.
    expect(await mistakeOf(open(prefix))).toEqual(
      mistake('prefix', field === 'sealed' ? 'true, and false' : `has ${field} true`),
    )
  })

  test.each([
    ['max_deliver', { max_deliver: 5 }],
    ['max_ack_pending', { max_ack_pending: 100 }],
    ['max_expires', { max_expires: 1_000_000_000 }],
    ['headers_only', { headers_only: true }],
    ['mem_storage', { mem_storage: true }],
    ['inactive_threshold', { inactive_threshold: 60_000_000_000 }],
    ['backoff', { backoff: [1_000_000_000], max_deliver: 3 }],
  ] as [string, Partial<ConsumerConfig>][])(
    '%s of the consumer of a queue, which would strand messages',
    async (field, config) => {
      const prefix = `consumer-${field}`
      await using first = open(prefix)
      await first.subscribe('q', [])
      await plain.manager.consumers.delete(`${prefix}-queue-q`, 'mersal')
      await plain.manager.consumers.add(`${prefix}-queue-q`, {
        durable_name: 'mersal',
        ack_policy: AckPolicy.Explicit,
        deliver_policy: DeliverPolicy.All,
        max_ack_pending: -1,
        ack_wait: 60_000_000_000,
        ...config,
      })
      const named = field === 'backoff' ? 'max_deliver' : field
      for (const topology of ['check', 'declare'] as const)
        expect(await mistakeOf(open(prefix, { topology }))).toEqual(
          mistake('topology', `has ${named} `),
        )
    },
  )

  test('with check: a consumer that hands a message out again before it is renewed', async () => {
    await using first = open('short', { ackWaitMs: 1000 })
    await first.subscribe('q', [])
    const strict = open('short', { ackWaitMs: 5000, topology: 'check' })
    expect(await mistakeOf(strict)).toEqual(mistake('ackWaitMs', 'has an ack_wait of 1000 ms'))
  })
})

describe.skipIf(!here)('processes with different ackWaitMs', () => {
  test('share the longest one, whoever comes first: a handler keeps its message (P6)', async () => {
    await using patient = open('waits', { ackWaitMs: 6000 })
    await using hasteful = open('waits', { ackWaitMs: 500 })
    const seen: string[] = []
    const handle = (name: string) => async () => {
      seen.push(name)
      await wait(2500)
      return { kind: 'ack' } as const
    }
    const consumption = { queue: 'q', concurrency: 1 }
    await hasteful.subscribe('q', [])
    await patient.subscribe('q', [])
    await using _patient = await patient.consume(consumption, handle('patient'))
    await Promise.all(patient.publish([toQueue('long')]))
    while (seen.length === 0) await wait(10)
    await using _hasteful = await hasteful.consume(consumption, handle('hasteful'))
    await wait(3000)
    expect(seen).toEqual(['patient'])
  })
})

describe.skipIf(!here)('a process that stood still for longer than its holds', () => {
  test('notices that they are lost, and decides nothing about what another one has (P6)', async () => {
    await using transport = open('still', { ackWaitMs: 500 })
    await using other = open('still', { ackWaitMs: 500 })
    await transport.subscribe('q', [])
    const seen: string[] = []
    const handled = Promise.withResolvers<void>()
    const consumption = { queue: 'q', concurrency: 1 }
    await using _other = await transport.consume(consumption, async ({ signal }) => {
      if (seen.length > 0) {
        seen.push('second')
        await wait(300)
        handled.resolve()
        return { kind: 'ack' }
      }
      seen.push('first')
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1500)
      await wait(50)
      seen.push(signal.aborted ? 'lost' : 'still there')
      return { kind: 'reject', reason: 'rejected', error: new Error('too late') }
    })
    await using _second = await other.consume(consumption, async () => {
      seen.push('second')
      await wait(300)
      handled.resolve()
      return { kind: 'ack' }
    })
    await Promise.all(transport.publish([toQueue('still')]))
    await handled.promise
    await wait(500)
    expect(await transport.deadLetters.list()).toEqual([])
    expect(seen).toContain('lost')
  })
})

describe.skipIf(!here)('an account', () => {
  test('that is full charges no attempt: the outcome is unavailable (P8)', async () => {
    await using transport = openAs('small')
    await transport.subscribe('q', [])
    const many = Array.from({ length: 20 }, (_, index) => toQueue(String(index), 20_000))
    const kinds = (await Promise.all(transport.publish(many))).map(({ kind }) => kind)
    expect(new Set(kinds)).toEqual(new Set(['confirmed', 'unavailable']))
  })

  test('whose user may not publish is told so, and nobody waits for a confirm', async () => {
    await using transport = openAs('mute')
    await transport.subscribe('q', [])
    const began = performance.now()
    const [outcome] = await Promise.all(transport.publish([toQueue('denied')]))
    expect(outcome).toMatchObject({
      kind: 'refused',
      error: { message: expect.stringContaining("publish to 'mersal.queue.q'") },
    })
    expect(performance.now() - began).toBeLessThan(1000)
  })
})
