import { AsyncLocalStorage } from 'node:async_hooks'
import { tracingChannel } from 'node:diagnostics_channel'
import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { Mersal, command, event } from '../../../src/index.ts'
import { memoryStore, memoryTransport } from '../../../src/memory.ts'
import { fakeTransport, json } from '../support/fake-transport.ts'
import { ended, listenTo } from '../support/operations.ts'
import { openShop } from '../support/shop.ts'

const Place = command<{ id: number }>('orders.place')
const Placed = event<{ id: number }>('orders.placed')
const Paid = event<{ id: number }>('orders.paid')
const ORDER = ['start', 'end', 'asyncStart', 'asyncEnd']

/** An app on the memory store whose handler of `orders.placed` publishes `orders.paid`. */
async function running(name: string, work: () => unknown = () => {}) {
  const app = new Mersal({
    name,
    store: memoryStore(),
    transport: memoryTransport(),
    logger: false,
    receive: { immediateRetries: 0, maxDeliveries: 1 },
  })
  app.handle(Placed, async ({ id }, { publish }) => {
    await publish(Paid, { id })
    await work()
  })
  app.handle(Paid, async () => {})
  await app.start()
  const place = (headers: Record<string, string> = {}): Promise<string> =>
    app.transaction((_, { publish }) => publish(Placed, { id: 1 }, { headers }))
  return { app, place }
}

/** Until both messages have been handled and nothing is left. */
async function quiet({ app }: { readonly app: Mersal<never> }, isOver: () => boolean) {
  while (!isOver()) await turn()
  await app.drain()
}

describe('one message on its way tells of', () => {
  test('each operation once, with the facts of its result, and its end comes last', async () => {
    using send = listenTo('send', 'seven')
    using save = listenTo('save', 'seven')
    using claim = listenTo('claim', 'seven')
    using publish = listenTo('publish', 'seven')
    using settle = listenTo('settle', 'seven')
    using receive = listenTo('receive', 'seven')
    using handle = listenTo('handle', 'seven')
    const { app, place } = await running('seven')
    const id = await place()
    await quiet({ app: app as never }, () => ended(receive.told).length === 2)
    await app.stop()

    expect(send.told.slice(0, 4).map(({ phase }) => phase)).toEqual(ORDER)
    expect(ended(send.told)).toMatchObject([
      { type: 'orders.placed', transactional: true, cause: undefined, message: { id } },
      { type: 'orders.paid', cause: { id }, to: { kind: 'topic', name: 'orders.paid' } },
    ])
    expect(ended(save.told)).toMatchObject([
      { messages: 1, into: 'unit' },
      { messages: 1, into: 'unit' },
    ])
    expect(ended(claim.told).every(({ messages }) => messages !== undefined)).toBe(true)
    expect(ended(publish.told)).toMatchObject([
      { system: 'memory', by: 'relay', outcome: 'confirmed', message: { id } },
      { by: 'relay', outcome: 'confirmed', message: { type: 'orders.paid' } },
    ])
    const settled = ended(settle.told).reduce((sum, { messages }) => sum + messages, 0)
    expect([settled, ended(settle.told).some(({ stale }) => stale !== 0)]).toEqual([2, false])
    expect(ended(receive.told)).toMatchObject([
      { system: 'memory', queue: 'seven', delivery: 1, outcome: 'handled', message: { id } },
      { outcome: 'handled', message: { type: 'orders.paid' } },
    ])
    expect(ended(handle.told)).toMatchObject([
      { queue: 'seven', attempt: 1, message: { id } },
      { attempt: 1, message: { type: 'orders.paid' } },
    ])
    for (const { told } of [send, save, claim, publish, settle, receive, handle]) {
      const starts = told.filter(({ phase }) => phase === 'start').length
      expect(ended<never>(told as never)).toHaveLength(starts)
    }
  })

  test('a handler that fails, and what became of its message', async () => {
    using receive = listenTo('receive', 'failing')
    using handle = listenTo('handle', 'failing')
    const broken = new Error('no stock')
    const { app, place } = await running('failing', () => Promise.reject(broken))
    await place()
    await quiet({ app: app as never }, () => ended(receive.told).length === 1)
    await app.stop()
    expect(handle.told.map(({ phase }) => phase)).toEqual([
      'start',
      'end',
      'error',
      'asyncStart',
      'asyncEnd',
    ])
    expect(handle.told[2]?.facts.error).toBe(broken)
    const [delivery] = ended(receive.told)
    expect(delivery).toMatchObject({ outcome: 'handler-failed' })
    expect(delivery?.failure?.message).toContain('no stock')
    expect(delivery).not.toHaveProperty('error')
  })

  test('a publish that the broker refuses', async () => {
    using publish = listenTo('publish', 'direct')
    const transport = fakeTransport()
    const error = new Error('too large')
    transport.answer = () => ({ kind: 'refused', reason: 'too-large', error, permanent: true })
    const app = new Mersal({ name: 'direct', transport, logger: false })
    await app.start()
    await expect(app.direct.publish(Placed, { id: 1 })).rejects.toThrow('too large')
    await app.stop()
    expect(publish.told.map(({ phase }) => phase)).toEqual([
      'start',
      'end',
      'error',
      'asyncStart',
      'asyncEnd',
    ])
    expect(ended(publish.told)).toMatchObject([{ by: 'app', outcome: 'refused', error }])
  })

  test('a send that is refused in the same tick', async () => {
    using send = listenTo('send', 'shop')
    const { app } = openShop({})
    const wrong = app.transaction((_, { publish }) =>
      publish(Placed, { id: 1 }, { partitionKey: '' }),
    )
    await expect(wrong).rejects.toThrow('partitionKey')
    expect(send.told.map(({ phase }) => phase)).toEqual([
      'start',
      'error',
      'end',
      ...ORDER.slice(2),
    ])
    expect(send.told.at(-1)?.facts.message).toBeUndefined()
    await app.stop()
  })
})

describe('a listener of sends', () => {
  /** The headers of the message that is stored, with these of a listener. */
  async function stored(
    carried: Record<string, string>,
    headers: Record<string, string> | undefined,
  ): Promise<Readonly<Record<string, string>>> {
    using _send = listenTo('send', 'shop', (facts) => Object.assign(facts.headers, carried))
    const { app, rows } = openShop({})
    await app.transaction((_, { publish }) =>
      publish(Placed, { id: 1 }, headers === undefined ? {} : { headers }),
    )
    const [row] = await rows()
    await app.stop()
    return row!.headers
  }

  test('puts headers into the message', async () => {
    expect(await stored({ traceparent: '00-a-b-01', baggage: 'a=1' }, undefined)).toMatchObject({
      traceparent: '00-a-b-01',
      baggage: 'a=1',
    })
  })

  test('replaces no header of the sender, and adds no state to the trace of the sender', async () => {
    const given = { traceparent: '00-c-d-01', colour: 'red' }
    const carried = { traceparent: '00-a-b-01', tracestate: 'x=1', colour: 'blue' }
    const headers = await stored(carried, given)
    expect(headers).toMatchObject(given)
    expect(headers).not.toHaveProperty('tracestate')
  })

  test('fails no send with what cannot travel, nor with a header too many', async () => {
    const hundred = Object.fromEntries(Array.from({ length: 100 }, (_, index) => [`h${index}`, '']))
    const headers = await stored(
      {
        traceparent: '00-a-b-01',
        'two words': 'x',
        Upper: 'x',
        line: 'a\nb',
        'sent-at': 'never',
        'x-mersal-attempt': '7',
        number: 7 as never,
      },
      hundred,
    )
    expect(headers).toMatchObject({ ...hundred, traceparent: '00-a-b-01' })
    for (const name of ['two words', 'Upper', 'upper', 'line', 'x-mersal-attempt', 'number'])
      expect(headers).not.toHaveProperty(name)
    expect(headers['sent-at']).not.toBe('never')
  })
})

describe('the work of an operation runs', () => {
  test('in what listeners put around it, the last one outermost', async () => {
    const calls: string[] = []
    const around = (name: string) => (facts: { around?: <R>(work: () => R) => R }) => {
      const inner = facts.around
      facts.around = (work) => {
        calls.push(name)
        return inner === undefined ? work() : inner(work)
      }
    }
    using _first = listenTo('handle', 'around', around('first'))
    using _second = listenTo('handle', 'around', around('second'))
    const { app, place } = await running('around', () => void calls.push('handler'))
    using receive = listenTo('receive', 'around')
    await place()
    await quiet({ app: app as never }, () => ended(receive.told).length === 2)
    await app.stop()
    expect(calls.slice(0, 3)).toEqual(['second', 'first', 'handler'])
  })

  test('with a store that is bound to its start, also with several messages in a transaction', async () => {
    const trace = new AsyncLocalStorage<string>()
    const { start } = tracingChannel('mersal:handle')
    start.bindStore(trace, (facts) => (facts as { message: { id: string } }).message.id)
    try {
      const seen: [string | undefined, string][] = []
      const app = new Mersal({
        name: 'bound',
        store: memoryStore(),
        transport: memoryTransport(),
        logger: false,
      })
      app.handle(
        Placed,
        async (_, { message }) => {
          await turn()
          seen.push([trace.getStore(), message.id])
        },
        { batch: 2 },
      )
      await app.start()
      await app.transaction(async (_, { publish }) => {
        for (const id of [1, 2, 3]) await publish(Placed, { id })
      })
      while (seen.length < 3) await turn()
      await app.stop()
      expect(seen.map(([store]) => store)).toEqual(seen.map(([, id]) => id))
    } finally {
      start.unbindStore(trace)
    }
  })
})

test('a delivery that nobody can name is told of, too', async () => {
  using receive = listenTo('receive', 'unnamed')
  const transport = fakeTransport()
  const app = new Mersal({
    name: 'unnamed',
    transport,
    logger: false,
    typeOf: () => {
      throw new Error('unreadable')
    },
  })
  app.handle(Place, async () => {})
  await app.start()
  await transport.deliver('unnamed', { type: '', body: json({}) })
  await app.stop()
  expect(ended(receive.told)).toMatchObject([{ queue: 'unnamed', delivery: 1 }])
  expect(ended(receive.told)[0]?.outcome).toMatch(/malformed|unknown-type/)
})
