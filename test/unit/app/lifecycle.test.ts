import { getEventListeners } from 'node:events'
import { describe, expect, test } from 'vitest'
import {
  Mersal,
  type MersalOptions,
  command,
  event,
  runUntilSignal,
  stopOnSignals,
} from '../../../src/index.ts'
import { type MemoryTransaction, memoryStore } from '../../../src/memory.ts'
import { manualClock } from '../../../src/testing/index.ts'
import { rejection } from '../support/errors.ts'
import { fakeTransport, json } from '../support/fake-transport.ts'

const Place = command<{ id: number }>('orders.place')
const Placed = event<{ id: number }>('orders.placed')
const Other = event('other')

function setUp(options: Partial<MersalOptions<MemoryTransaction>> = {}) {
  const store = memoryStore()
  const transport = fakeTransport()
  const app = new Mersal<MemoryTransaction>({
    name: 'shop',
    store,
    transport,
    logger: false,
    ...options,
  })
  const place = (signal?: AbortSignal) =>
    transport.deliver(
      'shop',
      { type: 'orders.place', body: json({ id: 1 }) },
      signal === undefined ? {} : { signal },
    )
  return { app, store, transport, place }
}

describe('starting', () => {
  test('declares the queue and subscribes the events that have a handler', async () => {
    const { app, transport } = setUp()
    app.handle(Place, () => {})
    app.handle(Placed, () => {})
    expect(app.state).toBe('idle')
    await app.start()
    expect(app.state).toBe('running')
    expect(transport.subscriptions).toEqual(['shop+orders.placed'])
    await app.stop()
    expect(app.state).toBe('stopped')
    expect(transport.disposed).toBe(true)
  })

  test('an app without events declares its queue all the same', async () => {
    const { app, transport } = setUp()
    await app.start()
    expect(transport.subscriptions).toEqual(['shop'])
    await app.stop()
  })

  test('an app that only sends declares nothing and takes no handlers', async () => {
    const { app, transport } = setUp({ sendOnly: true })
    expect(() => app.handle(Place, () => {})).toThrow(
      expect.objectContaining({ code: 'MERSAL_INVALID_OPTIONS' }),
    )
    await app.start()
    expect(transport.subscriptions).toEqual([])
    await rejection(app.subscribe(Placed), 'MERSAL_INVALID_OPTIONS')
    await app.stop()
  })

  test('an event that comes over a bridge is subscribed and consumed there', async () => {
    const far = fakeTransport()
    const { app, transport } = setUp({
      bridges: { far },
      routes: { 'orders.placed': { transport: 'far' } },
    })
    const seen: unknown[] = []
    app.handle(Placed, (body) => void seen.push(body))
    await app.start()
    expect([transport.subscriptions, far.subscriptions]).toEqual([['shop'], ['shop+orders.placed']])
    await far.deliver('shop', { type: 'orders.placed', body: json({ id: 3 }) })
    expect(seen).toEqual([{ id: 3 }])
    await app.stop()
    expect(far.disposed).toBe(true)
  })

  test('starting twice is starting once', async () => {
    const { app, transport } = setUp()
    await Promise.all([app.start(), app.start()])
    await app.start()
    expect(transport.subscriptions).toEqual(['shop'])
    await app.stop()
  })

  test('a start that fails closes everything and throws its own error', async () => {
    const { app, transport } = setUp()
    transport.onCall = (call) =>
      call === 'consume' ? Promise.reject(new Error('no rights')) : undefined
    await expect(app.start()).rejects.toThrow('no rights')
    expect(app.state).toBe('stopped')
    expect(transport.disposed).toBe(true)
    await app.stop()
  })

  test('a signal that aborts ends a start that waits for the broker', async () => {
    const { app, transport } = setUp()
    const controller = new AbortController()
    transport.onCall = () => new Promise(() => {})
    const starting = app.start({ signal: controller.signal })
    controller.abort(new Error('changed my mind'))
    await expect(starting).rejects.toThrow('changed my mind')
    expect(app.state).toBe('stopped')
  })

  test('a signal that outlives the app keeps nothing of it', async () => {
    const { app } = setUp()
    const controller = new AbortController()
    await app.start({ signal: controller.signal })
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(1)
    await app.stop()
    expect(getEventListeners(controller.signal, 'abort')).toEqual([])
  })

  test('a signal that aborts later stops the app', async () => {
    const { app, transport } = setUp()
    const controller = new AbortController()
    await app.start({ signal: controller.signal })
    controller.abort()
    expect(app.state).toBe('stopping')
    await app.stop()
    expect(transport.disposed).toBe(true)
  })

  test('handlers come before the start', async () => {
    const { app } = setUp()
    await app.start()
    expect(() => app.handle(Place, () => {})).toThrow(
      expect.objectContaining({ code: 'MERSAL_INVALID_OPTIONS' }),
    )
    await app.stop()
  })

  test('one handler per type', () => {
    const { app } = setUp()
    app.handle(Placed, () => {})
    expect(() => app.handle(Placed, () => {})).toThrow(
      expect.objectContaining({ code: 'MERSAL_DUPLICATE_HANDLER' }),
    )
    expect(() => app.handle(Place, 'nonsense' as never)).toThrow(
      expect.objectContaining({ code: 'MERSAL_INVALID_OPTIONS' }),
    )
  })
})

describe('subscriptions', () => {
  test('are noted before the start and made at once afterwards', async () => {
    const { app, transport } = setUp()
    app.handle(Placed, () => {})
    await app.subscribe(Other)
    await app.unsubscribe(Placed)
    expect(transport.subscriptions).toEqual([])
    await app.start()
    expect(transport.subscriptions).toEqual(['shop+other', 'shop-orders.placed'])
    await app.unsubscribe(Other)
    await app.subscribe(Placed)
    expect(transport.subscriptions.slice(2)).toEqual(['shop-other', 'shop+orders.placed'])
    await app.stop()
  })
})

describe('stopping', () => {
  test('P11: waits for the handler in progress, whose work is committed and published', async () => {
    const { app, transport, place } = setUp()
    const goOn = Promise.withResolvers<void>()
    const began = Promise.withResolvers<void>()
    app.handle(Place, async (_, { publish }) => {
      began.resolve()
      await goOn.promise
      await publish(Placed, { id: 1 })
    })
    await app.start()
    const outcome = place()
    await began.promise
    const stopping = app.stop()
    expect(app.state).toBe('stopping')
    goOn.resolve()
    await stopping
    expect(await outcome).toEqual({ kind: 'ack' })
    expect(transport.published.map(({ type }) => type)).toEqual(['orders.placed'])
  })

  test('waits for a transaction in progress, and refuses new ones', async () => {
    const { app, transport } = setUp()
    await app.start()
    const goOn = Promise.withResolvers<void>()
    const began = Promise.withResolvers<void>()
    const working = app.transaction(async (_tx, { publish }) => {
      began.resolve()
      await goOn.promise
      await publish(Placed, { id: 1 })
    })
    await began.promise
    const stopping = app.stop()
    await rejection(
      app.transaction(async () => {}),
      'MERSAL_APP_STOPPED',
    )
    expect(transport.disposed).toBe(false)
    goOn.resolve()
    await Promise.all([working, stopping])
    expect(transport.published).toHaveLength(1)
  })

  test('after the grace period a handler is given up: rolled back, released, and stop says so', async () => {
    const clock = manualClock()
    const { app, store, transport, place } = setUp({ clock, stopGraceMs: 3000 })
    const began = Promise.withResolvers<AbortSignal>()
    app.handle(Place, async (_, { tx, signal }) => {
      tx.set('order', 1)
      began.resolve(signal)
      await new Promise(() => {})
    })
    await app.start()
    const outcome = place()
    const signal = await began.promise
    const stopping = rejection(app.stop(), 'MERSAL_STOP_TIMEOUT')
    await clock.advance(2999)
    expect(signal.aborted).toBe(false)
    await clock.advance(1)
    expect(await outcome).toEqual({ kind: 'release' })
    expect((await stopping).message).toContain('3000 ms')
    expect(transport.disposed).toBe(true)
    expect(app.state).toBe('stopped')
    expect((await store.admin.stats()).pending).toBe(0)
  })

  test('after the grace period a transaction is given up, too', async () => {
    const clock = manualClock()
    const { app, store } = setUp({ clock, stopGraceMs: 3000 })
    await app.start()
    const began = Promise.withResolvers<void>()
    const working = rejection(
      app.transaction(async (tx, { publish }) => {
        tx.set('order', 1)
        await publish(Placed, { id: 1 })
        began.resolve()
        await new Promise(() => {})
      }),
      'MERSAL_STOP_TIMEOUT',
    )
    await began.promise
    const stopping = rejection(app.stop(), 'MERSAL_STOP_TIMEOUT')
    await clock.advance(3000)
    await Promise.all([working, stopping])
    expect((await store.admin.stats()).pending).toBe(0)
  })

  test('stopping twice, at the same time, and before the start', async () => {
    const { app, transport } = setUp()
    await Promise.all([app.stop(), app.stop()])
    await app.stop()
    expect(transport.disposed).toBe(true)
    await rejection(app.start(), 'MERSAL_APP_STOPPED')
    await rejection(app.publish(Placed, { id: 1 }), 'MERSAL_APP_STOPPED')
    await rejection(app.direct.publish(Placed, { id: 1 }), 'MERSAL_APP_STOPPED')
    await rejection(
      app.transaction(async () => {}),
      'MERSAL_APP_STOPPED',
    )
  })

  test('stopping during the start ends the start', async () => {
    const { app, transport } = setUp()
    transport.onCall = () => new Promise(() => {})
    const starting = rejection(app.start(), 'MERSAL_APP_STOPPED')
    await app.stop()
    await starting
    expect(app.state).toBe('stopped')
  })

  test('a consumer that appears after the app was stopped is closed', async () => {
    const { app, transport } = setUp()
    const consuming = Promise.withResolvers<void>()
    const asked = Promise.withResolvers<void>()
    transport.onCall = (call) => {
      if (call === 'consume') asked.resolve()
      return call === 'consume' ? consuming.promise : undefined
    }
    const starting = rejection(app.start(), 'MERSAL_APP_STOPPED')
    await asked.promise
    await app.stop()
    await starting
    consuming.resolve()
    await new Promise((resolve) => setImmediate(resolve))
    await expect(transport.deliver('shop', {})).rejects.toThrow('nobody consumes')
  })

  test('inside a handler waits for itself, and says so', async () => {
    const warned: string[] = []
    const nothing = (): void => {}
    const warn = (_: object, text: string): void => void warned.push(text)
    const { app, place } = setUp({
      stopGraceMs: 50,
      logger: { debug: nothing, info: nothing, warn, error: nothing },
    })
    const stopping = Promise.withResolvers<void>()
    app.handle(Place, async () => {
      const stopped = app.stop()
      stopping.resolve(stopped)
      await stopped
    })
    await app.start()
    expect(await place()).toEqual({ kind: 'release' })
    await rejection(stopping.promise, 'MERSAL_STOP_TIMEOUT')
    expect(warned[0]).toBe(
      'stop() was called inside a handler or a transaction of this app and waits for it: do not await it there',
    )
  })

  test('await using stops the app', async () => {
    const { app, transport } = setUp()
    {
      await using running = app
      await running.start()
    }
    expect(transport.disposed).toBe(true)
  })
})

describe('the relay of the app', () => {
  test('publishes what a transaction commits, and drain waits for it', async () => {
    const { app, transport, store } = setUp()
    await app.start()
    await app.transaction(async (_tx, { publish }) => publish(Placed, { id: 1 }))
    await app.drain()
    expect(transport.published).toHaveLength(1)
    expect((await store.admin.stats()).pending).toBe(0)
    await app.stop()
  })

  test('finds what was written within a foreign transaction, without waiting for its poll timer', async () => {
    const store = { ...memoryStore(), wakers: [] }
    const { app, transport } = setUp({ store, outbox: { relay: { pollIntervalMs: 3_600_000 } } })
    await app.start()
    await app.drain()
    const published = Promise.withResolvers<void>()
    transport.answer = () => {
      published.resolve()
      return { kind: 'confirmed' }
    }
    await store.unitOfWork(async (tx) => app.within(tx).publish(Placed, { id: 1 }))
    await published.promise
    await app.stop()
    expect(transport.published).toHaveLength(1)
  })

  test('does not run when another process publishes', async () => {
    const { app, transport, store } = setUp({ outbox: { runRelay: false } })
    await app.start()
    await app.transaction(async (_tx, { publish }) => publish(Placed, { id: 1 }))
    app.wake()
    await app.stop()
    expect(transport.published).toEqual([])
    expect((await store.admin.stats()).pending).toBe(1)
  })

  test('a transaction before the start is kept for the relay', async () => {
    const { app, transport } = setUp()
    await app.transaction(async (_tx, { publish }) => publish(Placed, { id: 1 }))
    expect(transport.published).toEqual([])
    await app.start()
    await app.drain()
    expect(transport.published).toHaveLength(1)
    await app.stop()
  })
})

describe('signals of the process', () => {
  function fakeHost() {
    const listeners = new Map<string, Set<() => void>>()
    const host = {
      exits: [] as number[],
      exitCode: undefined as number | undefined,
      on: (signal: string, listener: () => void) =>
        listeners.set(signal, (listeners.get(signal) ?? new Set()).add(listener)),
      off: (signal: string, listener: () => void) => listeners.get(signal)?.delete(listener),
      exit: (code: number) => void host.exits.push(code),
    }
    return {
      host,
      raise: (signal: string) =>
        [...(listeners.get(signal) ?? [])].forEach((listener) => listener()),
      listeners,
    }
  }

  test('the first one stops the app gracefully, with exit code 0', async () => {
    const { app, transport } = setUp()
    const { host, raise, listeners } = fakeHost()
    const running = runUntilSignal(app, { host })
    await app.start()
    raise('SIGTERM')
    expect(await running).toBe(0)
    expect(host.exitCode).toBe(0)
    expect(host.exits).toEqual([])
    expect(transport.disposed).toBe(true)
    expect([...listeners.values()].map((set) => set.size)).toEqual([0, 0])
  })

  test('of several apps the others stop within the grace period when one cannot start', async () => {
    const { host } = fakeHost()
    const endings: unknown[] = []
    const good = {
      start: () => Promise.resolve(),
      stop: (ending: unknown) => Promise.resolve(void endings.push(ending)),
    }
    const bad = { ...good, start: () => Promise.reject(new Error('wrong password')) }
    const running = runUntilSignal([good, bad], { host, graceMs: 1234 })
    await expect(running).rejects.toThrow('wrong password')
    expect(endings).toEqual([{ graceMs: 1234 }, { graceMs: 1234 }])
  })

  test('the second one ends the process at once', async () => {
    const { host, raise } = fakeHost()
    const goOn = Promise.withResolvers<void>()
    using stopping = stopOnSignals({ stop: () => goOn.promise }, { host })
    raise('SIGINT')
    expect(host.exits).toEqual([])
    raise('SIGTERM')
    expect(host.exits).toEqual([143])
    goOn.resolve()
    expect(await stopping.stopped).toBe(0)
  })

  test('a stop that was not graceful is exit code 1', async () => {
    const { host, raise } = fakeHost()
    const written: string[] = []
    using stopping = stopOnSignals(
      { stop: () => Promise.reject(new Error('too slow')) },
      { host, report: (text) => void written.push(text) },
    )
    raise('SIGINT')
    expect(await stopping.stopped).toBe(1)
    expect(host.exitCode).toBe(1)
    expect(written).toEqual(['Error: too slow'])
  })
})
