import { expect, test } from 'vitest'
import { Mersal, MersalError, command, event } from '../../../src/index.ts'
import { type MemoryTransaction, memoryStore } from '../../../src/memory.ts'
import { type ManualClock, manualClock } from '../../../src/testing/index.ts'
import { rejection } from '../support/errors.ts'
import { fakeTransport, json } from '../support/fake-transport.ts'

const Place = command<{ id: number }>('orders.place')
const Placed = event<{ id: number }>('orders.placed')
const Other = event('other')
const away = new MersalError('MERSAL_UNAVAILABLE', 'nobody answers')
const mistake = new MersalError('MERSAL_INVALID_OPTIONS', 'the queue exists with other properties')

function setUp() {
  const log: string[] = []
  const line =
    (level: string) =>
    (_: object, text: string): void =>
      void log.push(`${level}: ${text}`)
  const logger = { debug: () => {}, info: line('info'), warn: line('warn'), error: line('error') }
  const clock = manualClock()
  const transport = fakeTransport()
  const far = fakeTransport()
  const routes = { 'orders.placed': { transport: 'far' } }
  const app = new Mersal<MemoryTransaction>({
    name: 'shop',
    store: memoryStore(),
    transport,
    bridges: { far },
    routes,
    logger,
    clock,
  })
  const seen: number[] = []
  app.handle(Place, ({ id }) => void seen.push(id))
  app.handle(Placed, ({ id }) => void seen.push(id))
  return { app, transport, far, clock, log, seen }
}

async function pass(clock: ManualClock, ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += 100) await clock.advance(100)
}

test('an app starts without its broker, commits, warns once, and receives when the broker comes', async () => {
  const { app, transport, far, clock, log, seen } = setUp()
  transport.onCall = () => Promise.reject(away)
  transport.answer = () => ({ kind: 'unavailable', error: away })
  await app.start()
  expect(app.state).toBe('running')
  await app.transaction((_, { sendLocal }) => sendLocal(Place, { id: 1 }))
  // What comes over the other transport is not held up.
  await far.deliver('shop', { type: 'orders.placed', body: json({ id: 2 }) })
  expect(seen).toEqual([2])
  await pass(clock, 60_000)
  expect(log.filter((text) => text.includes('cannot be reached'))).toHaveLength(1)
  expect(log.filter((text) => text.startsWith('error'))).toEqual([])
  transport.onCall = () => {}
  transport.answer = () => ({ kind: 'confirmed' })
  await pass(clock, 4000)
  expect(log).toContain('info: the broker is there; the app receives')
  await transport.deliver('shop', { type: 'orders.place', body: json({ id: 3 }) })
  expect(seen).toEqual([2, 3])
  await app.stop()
})

test('a broker that vanishes between the declaration and the consuming is waited for, too', async () => {
  const { app, transport, clock, seen } = setUp()
  transport.onCall = (call) => (call === 'consume' ? Promise.reject(away) : undefined)
  await app.start()
  transport.onCall = () => {}
  await pass(clock, 1000)
  await transport.deliver('shop', { type: 'orders.place', body: json({ id: 1 }) })
  expect(seen).toEqual([1])
  await app.stop()
})

test('a mistake that waiting cannot fix fails the start; one that shows later is one error in the log', async () => {
  const first = setUp()
  first.transport.onCall = () => Promise.reject(mistake)
  await rejection(first.app.start(), 'MERSAL_INVALID_OPTIONS')
  expect(first.app.state).toBe('stopped')
  const { app, transport, clock, log } = setUp()
  transport.onCall = () => Promise.reject(away)
  await app.start()
  transport.onCall = () => Promise.reject(mistake)
  await pass(clock, 60_000)
  expect(log.filter((text) => text.startsWith('error'))).toEqual([
    'error: the app cannot receive; it is tried again until that is fixed',
  ])
  transport.onCall = () => {}
  await pass(clock, 5000)
  expect(log).toContain('info: the broker is there; the app receives')
  await app.stop()
})

test('the tries have growing pauses: a dead broker is asked about fifteen times a minute', async () => {
  const { app, transport, clock } = setUp()
  let calls = 0
  transport.onCall = () => {
    calls++
    return Promise.reject(away)
  }
  await app.start()
  await pass(clock, 60_000)
  expect(calls).toBeGreaterThan(10)
  expect(calls).toBeLessThan(40)
  await app.stop()
})

test('subscriptions that change while the broker is away are made when it comes', async () => {
  const { app, transport, far, clock } = setUp()
  transport.onCall = () => Promise.reject(away)
  far.onCall = () => Promise.reject(away)
  await app.start()
  await rejection(app.subscribe(Other), 'MERSAL_UNAVAILABLE')
  await rejection(app.unsubscribe(Placed), 'MERSAL_UNAVAILABLE')
  transport.onCall = () => {}
  far.onCall = () => {}
  await pass(clock, 4000)
  expect([transport.subscriptions, far.subscriptions]).toEqual([
    ['shop+other'],
    ['shop-orders.placed'],
  ])
  await app.stop()
})

test('an app that waits for its broker stops at once, and nothing goes on', async () => {
  const { app, transport, clock } = setUp()
  let calls = 0
  transport.onCall = () => {
    calls++
    return Promise.reject(away)
  }
  await app.start()
  await app.stop()
  const before = calls
  await pass(clock, 60_000)
  expect(calls).toBe(before)
})

test.each(['subscribe', 'topicsOf', 'consume'])(
  'a stop in the middle of %s of a start says nothing of a broker that is away',
  async (point) => {
    const { app, transport, log } = setUp()
    const reached = Promise.withResolvers<void>()
    const closed = Promise.withResolvers<never>()
    const halt = (): Promise<never> => {
      reached.resolve()
      return closed.promise
    }
    transport.onCall = (call) => (call === point ? halt() : undefined)
    if (point === 'topicsOf') Object.assign(transport, { topicsOf: halt })
    const started = rejection(app.start(), 'MERSAL_APP_STOPPED')
    await reached.promise
    const stopped = app.stop()
    // The transport is closed by then, and so fails what is under way.
    await started
    closed.reject(away)
    await stopped
    await new Promise(setImmediate)
    expect(app.state).toBe('stopped')
    expect(log).toEqual([])
  },
)
