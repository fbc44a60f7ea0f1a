import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import {
  type Envelope,
  Mersal,
  type OperationName,
  type OutgoingMessage,
  event,
} from '../../../src/index.ts'
import { memoryStore, memoryTransport } from '../../../src/memory.ts'
import { traced } from '../../../src/core/traced.ts'
import { fakeTransport, json } from '../support/fake-transport.ts'
import { ended, listenTo } from '../support/operations.ts'
import { openShop } from '../support/shop.ts'

const Placed = event<{ id: number }>('orders.placed')
type Around = <Result>(work: () => Result) => Result

/** What the work gives with this around it, how often it ran, and what was thrown beside it. */
async function within(around: unknown, work: () => unknown = () => 'done') {
  const beside: unknown[] = []
  process.setUncaughtExceptionCaptureCallback((thrown) => void beside.push(thrown))
  using _listener = listenTo('handle', 'hostile', (facts) =>
    Object.assign(facts, { around: around as Around }),
  )
  let calls = 0
  const facts = { app: 'hostile', queue: 'hostile', message: {}, attempt: 1 }
  let result: unknown
  try {
    result = await traced(
      'handle',
      () => facts as never,
      () => {
        calls++
        return work()
      },
    )
  } catch (thrown) {
    result = thrown
  }
  await turn()
  process.setUncaughtExceptionCaptureCallback(null)
  return { result, calls, beside }
}

test('the work is done once and gives its own result, whatever a listener puts around it', async () => {
  const broken = new Error('no context')
  const once = { result: 'done', calls: 1, beside: [] }
  expect(await within((run: () => unknown) => [run(), run()])).toEqual(once)
  expect(await within(() => 'something else')).toEqual(once)
  expect(await within('no function')).toEqual(once)
  expect(
    await within(() => {
      throw broken
    }),
  ).toEqual({ ...once, beside: [broken] })
  expect(
    await within((run: () => unknown) => {
      run()
      throw broken
    }),
  ).toEqual({ ...once, beside: [broken] })
})

test('a failure of the work stays one, and is no failure of what is around it', async () => {
  const failure = new Error('no stock')
  const work = (): never => {
    throw failure
  }
  const failed = { result: failure, calls: 1, beside: [] }
  expect(await within((run: () => unknown) => run(), work)).toEqual(failed)
  const swallowing = (run: () => unknown): void => {
    try {
      run()
    } catch {}
  }
  expect(await within(swallowing, work)).toEqual(failed)
})

test('frozen facts fail and repeat nothing: each message is published, settled and handled once', async () => {
  const app = new Mersal({
    name: 'frozen',
    store: memoryStore(),
    transport: memoryTransport(),
    logger: false,
    outbox: { relay: { express: false } },
  })
  const names: readonly OperationName[] = [
    'send',
    'save',
    'claim',
    'publish',
    'settle',
    'receive',
    'handle',
  ]
  using all = new DisposableStack()
  for (const name of names) all.use(listenTo(name, 'frozen', (facts) => void Object.freeze(facts)))
  using settle = listenTo('settle', 'frozen')
  using publish = listenTo('publish', 'frozen')
  using receive = listenTo('receive', 'frozen')
  const handled: number[] = []
  app.handle(Placed, async ({ id }) => void handled.push(id))
  await app.start()
  await app.transaction((_, { publish: emit }) => emit(Placed, { id: 1 }))
  while (handled.length === 0) await turn()
  await app.drain()
  await app.stop()
  const counts = [publish, settle, receive].map(({ told }) => ended<never>(told as never).length)
  expect([handled.length, ...counts]).toEqual([1, 1, 1, 1])
})

test('frozen facts fail no save that goes in one flight with its commit', async () => {
  using _save = listenTo('save', 'shop', (facts) => void Object.freeze(facts))
  const { app, rows } = openShop({
    change: (store) => ({
      ...store,
      outbox: {
        ...store.outbox,
        saveLast: (...given) => ({ saved: store.outbox.save(...given) }),
      },
    }),
  })
  await app.transaction((_, { publish }) => publish(Placed, { id: 1 }))
  expect(await rows()).toHaveLength(1)
  await app.stop()
})

test('P12: what listeners write into a message that they are shown changes no message', async () => {
  const transport = fakeTransport()
  const app = new Mersal({
    name: 'writing',
    store: memoryStore(),
    transport,
    logger: false,
    outbox: { relay: { express: false } },
  })
  const write = (message: Envelope | undefined): void => {
    if (message === undefined) return
    Object.assign(message.headers, { x: '1' })
    Object.assign((message as Partial<OutgoingMessage>).to ?? {}, { name: 'elsewhere' })
    Object.assign(message, { type: 'other' })
  }
  using send = listenTo('send', 'writing')
  using _publish = listenTo('publish', 'writing', ({ message }) => write(message))
  using _receive = listenTo('receive', 'writing', ({ message }) => write(message))
  using _handle = listenTo('handle', 'writing', ({ message }) => write(message))
  using _cause = listenTo('send', 'writing', ({ cause, to }) => {
    write(cause)
    Object.assign(to, { name: 'elsewhere' })
  })
  const seen: unknown[] = []
  app.handle(Placed, async (_, { message, publish }) => {
    await publish(Placed, { id: 2 })
    seen.push(message.type, message.headers['x'])
  })
  await app.start()
  await app.transaction(async (_, { publish }) => {
    await publish(Placed, { id: 1 })
    write(ended(send.told)[0]?.message)
  })
  const headers = { 'content-type': 'application/json' }
  const body = json({ id: 1 })
  expect(await transport.deliver('writing', { type: Placed.name, headers, body })).toEqual({
    kind: 'ack',
  })
  await app.drain()
  await app.stop()
  expect(seen).toEqual([Placed.name, undefined])
  const sent = [Placed.name, undefined, Placed.name]
  expect(transport.published.map(({ type, headers: { x }, to }) => [type, x, to.name])).toEqual([
    sent,
    sent,
  ])
})

test('a listener that takes the headers of a send away fails no send', async () => {
  using _send = listenTo('send', 'shop', (facts) => Object.assign(facts, { headers: null }))
  const { app, rows } = openShop({})
  await app.transaction((_, { publish }) => publish(Placed, { id: 1 }))
  expect(await rows()).toHaveLength(1)
  await app.stop()
})

test('a trace does not count among the headers of the sender, also behind a step', async () => {
  const trace = { traceparent: '00-a-b-01', tracestate: 'x=1', baggage: 'tenant=acme' }
  using _send = listenTo('send', 'shop', (facts) => Object.assign(facts.headers, trace))
  const { app, rows } = openShop({
    outgoing: [{ name: 'nothing', run: async (_, next) => await next() }],
  })
  const headers = Object.fromEntries(Array.from({ length: 100 }, (_, index) => [`h${index}`, '']))
  await app.transaction((_, { publish }) => publish(Placed, { id: 1 }, { headers }))
  expect((await rows())[0]?.headers).toMatchObject({ ...headers, ...trace })
  await app.stop()
})
