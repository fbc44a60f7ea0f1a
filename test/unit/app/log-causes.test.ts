import { describe, expect, test, vi } from 'vitest'
import {
  type Logger,
  Mersal,
  MersalError,
  type Store,
  command,
  stopOnSignals,
} from '../../../src/index.ts'
import { type MemoryTransaction, memoryStore } from '../../../src/memory.ts'
import { manualClock } from '../../../src/testing/index.ts'
import { fakeTransport, json } from '../support/fake-transport.ts'
import { openShop } from '../support/shop.ts'

/** What a server answers, two errors below what we log; with a secret in it. */
const fromServer = Object.assign(
  new Error('terminating connection; url postgres://app:hunter2@db/orders'),
  { code: '57P01' },
)
const failure = new MersalError('MERSAL_STORE_FAILED', 'it failed', {
  cause: new Error('a query failed', { cause: fromServer }),
})

interface Line {
  readonly level: string
  readonly message: string
  readonly fields: Readonly<Record<string, unknown>>
}

function recorder(): { readonly lines: Line[]; readonly logger: Logger } {
  const lines: Line[] = []
  const at = (level: string) => (fields: Readonly<Record<string, unknown>>, message: string) =>
    void lines.push({ level, message, fields })
  const logger = { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
  return { lines, logger }
}

/** The line with this text names every cause, with its code, and no secret. */
function expectCauses(lines: readonly Line[], message: string | RegExp): void {
  const line = lines.find((one) =>
    typeof message === 'string' ? one.message === message : message.test(one.message),
  )
  expect(line, `a line '${String(message)}'`).toBeDefined()
  expect(line?.fields['error']).toContain('a query failed')
  expect(line?.fields['error']).toContain('terminating connection')
  expect(line?.fields['error']).toContain('57P01')
  expect(JSON.stringify(line)).not.toContain('hunter2')
}

const Place = command<{ id: number }>('orders.place')

describe('a log line keeps the causes of its error', () => {
  test('when the broker is away at the start', async () => {
    const { lines, logger } = recorder()
    const { app, transport } = openShop({ logger, clock: manualClock() })
    transport.onCall = () => {
      throw new MersalError('MERSAL_UNAVAILABLE', 'no broker', { cause: failure })
    }
    await app.start()
    await app.stop()
    expectCauses(lines, /^the broker cannot be reached/)
  })

  test('when the subscriptions of a queue cannot be read', async () => {
    const { lines, logger } = recorder()
    const transport = { ...fakeTransport(), topicsOf: () => Promise.reject(failure) }
    const app = new Mersal({ name: 'shop', transport, logger })
    app.handle(Place, () => {})
    await app.start()
    await app.stop()
    expectCauses(lines, 'the app could not find out whether events come that nobody handles')
  })

  test('when a handler fails', async () => {
    const { lines, logger } = recorder()
    const { app, transport } = openShop({ logger })
    app.handle(Place, () => Promise.reject(failure))
    await app.start()
    await transport.deliver('shop', { type: Place.name, body: json({ id: 1 }) })
    await app.stop()
    expectCauses(lines, 'handler failed; the message comes again')
  })

  test('when a message becomes a dead letter', async () => {
    const { lines, logger } = recorder()
    const { app, transport } = openShop({ logger, receive: { maxDeliveries: 1 } })
    app.handle(Place, () => Promise.reject(failure))
    await app.start()
    await transport.deliver('shop', { type: Place.name, body: json({ id: 1 }) })
    await app.stop()
    expectCauses(lines, 'message became a dead letter')
  })

  test('when a transaction that messages shared is undone', async () => {
    const { lines, logger } = recorder()
    const { app, transport } = openShop({ logger })
    app.handle(
      Place,
      ({ id }) => {
        if (id === 2) throw failure
      },
      { batch: 2 },
    )
    await app.start()
    const place = (id: number) =>
      transport.deliver('shop', { type: Place.name, body: json({ id }) })
    await Promise.all([place(1), place(2)])
    await app.stop()
    expectCauses(lines, 'a transaction that messages shared was undone')
  })

  test('when the inbox cannot be asked about a transaction that was undone', async () => {
    const { lines, logger } = recorder()
    let asked = 0
    const change = (store: Store<MemoryTransaction>): Store<MemoryTransaction> => ({
      ...store,
      tracker: {
        ...store.tracker,
        endings: {
          recorder: () => ({ transaction: '7', suspect: true }),
          forget: () => (++asked < 4 ? Promise.reject(failure) : Promise.resolve(0)),
        },
      },
    })
    const { app, transport } = openShop({ logger, change, random: () => 0 })
    app.handle(Place, () => Promise.reject(new Error('no stock')))
    await app.start()
    await transport.deliver('shop', { type: Place.name, body: json({ id: 1 }) })
    await app.stop()
    expectCauses(lines, 'messages wait until the inbox can be asked')
  })

  test('when a call of within() that nobody awaited fails', async () => {
    const { lines, logger } = recorder()
    const change = (store: Store<MemoryTransaction>): Store<MemoryTransaction> => ({
      ...store,
      outbox: { ...store.outbox, save: () => Promise.reject(failure) },
    })
    const { app } = openShop({ logger, change, routes: { [Place.name]: 'shop' } })
    void app.within({} as MemoryTransaction).send(Place, { id: 1 })
    await vi.waitFor(() => expectCauses(lines, /^a call of within\(\) failed/))
    await app.stop()
  })

  test('when something cannot be closed', async () => {
    const { lines, logger } = recorder()
    const store = { ...memoryStore(), [Symbol.asyncDispose]: () => Promise.reject(failure) }
    const transport = fakeTransport()
    transport[Symbol.asyncDispose] = () => Promise.reject(failure)
    const app = new Mersal<MemoryTransaction>({ name: 'shop', store, transport, logger })
    await app.start()
    await app.stop()
    expectCauses(lines, 'closing a transport failed')
    expectCauses(lines, 'closing the store failed')
  })

  test('when a signal stops the app and stopping fails', async () => {
    const listeners: (() => void)[] = []
    const written: string[] = []
    const host = {
      on: (_: string, listener: () => void) => void listeners.push(listener),
      off: () => {},
      exit: () => {},
    }
    using stopping = stopOnSignals(
      { stop: () => Promise.reject(failure) },
      { host, report: (text) => void written.push(text) },
    )
    listeners[0]?.()
    await stopping.stopped
    expect(written.join()).toMatch(/it failed .* a query failed.*terminating connection.*57P01/)
    expect(written.join()).not.toContain('hunter2')
  })
})
