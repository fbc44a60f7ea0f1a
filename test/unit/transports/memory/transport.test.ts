import { expect, test } from 'vitest'
import type { Destination, OutgoingMessage } from '../../../../src/core/messages/message.ts'
import type { Delivery, Disposition } from '../../../../src/core/transport.ts'
import { manualClock } from '../../../../src/testing/manual-clock.ts'
import {
  memoryNetwork,
  type MemoryTransport,
  memoryTransport,
} from '../../../../src/transports/memory.ts'

const queue = (name: string): Destination => ({ transport: 'default', kind: 'queue', name })
const topic = (name: string): Destination => ({ transport: 'default', kind: 'topic', name })
const turn = () => new Promise((resolve) => setImmediate(resolve))

function message(id: string, to: Destination): OutgoingMessage {
  return { id, type: 'unit', headers: {}, body: new Uint8Array([1]), to }
}

const publish = (transport: MemoryTransport, ...messages: OutgoingMessage[]) =>
  Promise.all(transport.publish(messages))

/** Consumes with one answer for every delivery, and collects the deliveries. */
async function collect(
  transport: MemoryTransport,
  name: string,
  answer: (delivery: Delivery) => Disposition | Promise<Disposition>,
) {
  const seen: Delivery[] = []
  const consumption = await transport.consume({ queue: name, concurrency: 1 }, async (delivery) => {
    seen.push(delivery)
    return answer(delivery)
  })
  return { seen, consumption }
}

test('networks know nothing of each other, transports of one network share everything', async () => {
  const network = memoryNetwork()
  const [first, second, foreign] = [network.transport(), network.transport(), memoryTransport()]
  await first.subscribe('q', ['t'])
  expect(
    (await publish(second, message('1', queue('q')), message('2', topic('t')))).map(
      ({ kind }) => kind,
    ),
  ).toEqual(['confirmed', 'confirmed'])
  expect((await publish(foreign, message('3', queue('q')))).map(({ kind }) => kind)).toEqual([
    'refused',
  ])
})

test('events without subscribers are thrown away when asked for, commands without a queue never are', async () => {
  const transport = memoryTransport({ eventsWithoutSubscribers: 'discard' })
  const [event, command] = await publish(
    transport,
    message('1', topic('t')),
    message('2', queue('q')),
  )
  expect(event).toEqual({ kind: 'confirmed' })
  expect(command).toMatchObject({
    kind: 'refused',
    reason: 'unroutable',
    error: { code: 'MERSAL_UNROUTABLE' },
  })
})

test('headers count into the size of a message', async () => {
  const transport = memoryTransport({ maxMessageBytes: 10 })
  await transport.subscribe('q', [])
  const [small, large] = await publish(
    transport,
    { ...message('1', queue('q')), headers: { name: 'éé1' } },
    { ...message('2', queue('q')), headers: { name: 'éé12' } },
  )
  expect(small).toEqual({ kind: 'confirmed' })
  expect(large).toMatchObject({ kind: 'refused', reason: 'too-large', permanent: true })
})

test('a delayed retry waits on the clock of the network, exactly as long as asked', async () => {
  const clock = manualClock()
  const transport = memoryTransport({ clock })
  await transport.subscribe('q', [])
  await publish(transport, message('1', queue('q')))
  const { seen, consumption } = await collect(transport, 'q', ({ attempt }) =>
    attempt === 1 ? { kind: 'retry', delayMs: 1000, error: new Error('later') } : { kind: 'ack' },
  )
  await clock.advance(999)
  expect(seen.map(({ attempt }) => attempt)).toEqual([1])
  await clock.advance(1)
  expect(seen.map(({ attempt }) => attempt)).toEqual([1, 2])
  await consumption[Symbol.asyncDispose]()
})

test('a stopped consumer leaves no sleeper behind, and its delayed messages come to the next one', async () => {
  const clock = manualClock()
  const transport = memoryTransport({ clock })
  await transport.subscribe('q', [])
  await publish(transport, message('1', queue('q')))
  const first = await collect(transport, 'q', () => ({
    kind: 'retry',
    delayMs: 1000,
    error: new Error('later'),
  }))
  await turn()
  expect(clock.sleeping).toBe(1)
  await first.consumption[Symbol.asyncDispose]()
  expect(clock.sleeping).toBe(0)
  const second = await collect(transport, 'q', () => ({ kind: 'ack' }))
  await clock.advance(1000)
  expect(second.seen.map(({ attempt }) => attempt)).toEqual([2])
  await second.consumption[Symbol.asyncDispose]()
})

test('disposing the transport gives back what hanging callbacks hold, in order, and waits for none of them', async () => {
  const network = memoryNetwork()
  const [victim, other] = [network.transport(), network.transport()]
  await victim.subscribe('q', [])
  await publish(
    victim,
    message('1', queue('q')),
    message('2', queue('q')),
    message('3', queue('q')),
  )
  const signals: AbortSignal[] = []
  const consumption = await victim.consume({ queue: 'q', concurrency: 2 }, ({ signal }) => {
    signals.push(signal)
    return new Promise(() => {})
  })
  await turn()
  const stopping = consumption[Symbol.asyncDispose]()
  await victim[Symbol.asyncDispose]()
  await stopping
  expect(signals.map(({ aborted }) => aborted)).toEqual([true, true])
  const { seen, consumption: next } = await collect(other, 'q', () => ({ kind: 'ack' }))
  await turn()
  await next[Symbol.asyncDispose]()
  expect(seen.map((delivery) => `${delivery.message.id} ${delivery.attempt}`)).toEqual([
    '1 2',
    '2 2',
    '3 1',
  ])
})

test('a release does not count as an attempt, and the message keeps its place', async () => {
  const transport = memoryTransport()
  await transport.subscribe('q', [])
  await publish(transport, message('1', queue('q')), message('2', queue('q')))
  let releases = 3
  const { seen, consumption } = await collect(transport, 'q', () =>
    releases-- > 0 ? { kind: 'release' } : { kind: 'ack' },
  )
  await turn()
  await consumption[Symbol.asyncDispose]()
  expect(seen.map((delivery) => `${delivery.message.id} ${delivery.attempt}`)).toEqual([
    '1 1',
    '1 1',
    '1 1',
    '1 1',
    '2 1',
  ])
})

test('a long queue is consumed without starving the event loop', async () => {
  const transport = memoryTransport()
  await transport.subscribe('q', [])
  await publish(
    transport,
    ...Array.from({ length: 5000 }, (_, index) => message(`${index}`, queue('q'))),
  )
  const { seen, consumption } = await collect(transport, 'q', () => ({ kind: 'ack' }))
  let turns = 0
  while (seen.length < 5000) {
    await turn()
    turns++
  }
  await consumption[Symbol.asyncDispose]()
  expect(turns).toBeGreaterThan(10)
  expect(seen.map((delivery) => delivery.message.id)).toEqual(
    Array.from({ length: 5000 }, (_, index) => `${index}`),
  )
})

test('a queue that was not declared cannot be consumed, and options are checked', async () => {
  const transport = memoryTransport()
  const ack = () => Promise.resolve({ kind: 'ack' } as const)
  await expect(transport.consume({ queue: 'q', concurrency: 1 }, ack)).rejects.toMatchObject({
    code: 'MERSAL_UNROUTABLE',
  })
  await transport.subscribe('q', [])
  await expect(transport.consume({ queue: 'q', concurrency: 0 }, ack)).rejects.toMatchObject({
    code: 'MERSAL_INVALID_OPTIONS',
  })
  expect(() => memoryNetwork({ maxMessagesBytes: 1 } as object)).toThrow(
    /did you mean 'maxMessageBytes'/,
  )
  expect(() => memoryNetwork({ eventsWithoutSubscribers: 'keep' as 'refuse' })).toThrow(
    /expected one of/,
  )
})
