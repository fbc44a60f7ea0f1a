import { describe, expect, test } from 'vitest'
import { Mersal, command, event } from '../../../src/index.ts'
import { memoryNetwork, memoryStore, memoryTransport } from '../../../src/memory.ts'
import { capture, drain } from '../../../src/testing/index.ts'
import { rejection } from '../support/errors.ts'

const Count = command<{ left: number }>('count')
const Counted = event<{ left: number }>('counted')

function setUp() {
  const store = memoryStore()
  const app = new Mersal({ name: 'counter', store, transport: memoryTransport(), logger: false })
  const handled: number[] = []
  app.handle(Count, async ({ left }, { tx, sendLocal, publish }) => {
    handled.push(left)
    tx.set('left', left)
    await publish(Counted, { left }, { partitionKey: 'k', headers: { tenant: 'a' } })
    if (left > 0) await sendLocal(Count, { left: left - 1 })
  })
  app.handle(Counted, () => {})
  return { app, store, handled }
}

describe('drain', () => {
  test('waits until a chain of messages has run to its end', async () => {
    const { app, store, handled } = setUp()
    await app.start()
    await app.transaction(async (_tx, { sendLocal }) => sendLocal(Count, { left: 20 }))
    await drain(app)
    expect(handled).toHaveLength(21)
    expect((await store.admin.stats()).pending).toBe(0)
    await app.stop()
  })

  test('waits for messages that go back and forth between apps, whichever it asks first', async () => {
    const network = memoryNetwork()
    const seen: string[] = []
    const make = (name: string, other: string) => {
      const own = command<{ left: number }>(`${name}.play`)
      const next = command<{ left: number }>(`${other}.play`)
      const routes = { [own.name]: name, [next.name]: other }
      const app = new Mersal({
        name,
        store: memoryStore(),
        transport: network.transport(),
        routes,
        logger: false,
      })
      app.handle(own, async ({ left }, { send }) => {
        seen.push(name)
        await new Promise((resolve) => setImmediate(resolve))
        if (left > 0) await send(next, { left: left - 1 })
      })
      return { app, own }
    }
    const [ping, pong] = [make('ping', 'pong'), make('pong', 'ping')]
    await Promise.all([ping.app.start(), pong.app.start()])
    for (const apps of [
      [ping.app, pong.app],
      [pong.app, ping.app],
    ]) {
      seen.length = 0
      await ping.app.transaction(async (_tx, { send }) => send(ping.own, { left: 9 }))
      await drain(apps)
      expect(seen).toHaveLength(10)
    }
    await Promise.all([ping.app.stop(), pong.app.stop()])
  })

  test('ends at once when there is nothing to do, again and again', async () => {
    const { app } = setUp()
    await app.start()
    await drain(app)
    await drain([app])
    await app.stop()
  })

  test('waits for a handler at work, or until its signal aborts', async () => {
    const app = new Mersal({ name: 'slow', transport: memoryTransport(), logger: false })
    const goOn = Promise.withResolvers<void>()
    const began = Promise.withResolvers<void>()
    app.handle(Count, () => {
      began.resolve()
      return goOn.promise
    })
    await app.start()
    await app.sendLocal(Count, { left: 0 })
    await began.promise
    let drained = false
    const draining = drain(app).then(() => (drained = true))
    await expect(drain(app, { signal: AbortSignal.abort(new Error('enough')) })).rejects.toThrow(
      'enough',
    )
    expect(drained).toBe(false)
    goOn.resolve()
    expect(await draining).toBe(true)
    await app.stop()
  })
})

describe('capture', () => {
  test('shows what a transaction would send, and leaves nothing behind', async () => {
    const { app, store } = setUp()
    const sent = await capture(app).transaction(async (tx, { sendLocal }) => {
      tx.set('left', 1)
      await sendLocal(Count, { left: 3 }, { delayMs: 5 })
      await app.publish(Counted, { left: 4 })
    })
    expect(sent).toMatchObject([
      { type: 'count', body: { left: 3 }, delayMs: 5, to: { kind: 'queue', name: 'counter' } },
      { type: 'counted', body: { left: 4 }, to: { kind: 'topic', name: 'counted' } },
    ])
    expect((await store.admin.stats()).pending).toBe(0)
    expect(await store.unitOfWork(async (tx) => tx.entries())).toEqual([])
  })

  test('shows what a handler would send', async () => {
    const { app, handled, store } = setUp()
    const sent = await capture(app).handle(
      Count,
      { left: 1 },
      { headers: { 'correlation-id': 'journey' } },
    )
    expect(sent).toMatchObject([
      {
        type: 'counted',
        body: { left: 1 },
        partitionKey: 'k',
        headers: { tenant: 'a', 'correlation-id': 'journey' },
      },
      { type: 'count', body: { left: 0 } },
    ])
    expect(handled).toEqual([1])
    expect(await store.unitOfWork(async (tx) => tx.entries())).toEqual([])
  })

  test('checks what is checked before a commit, and throws what the work throws', async () => {
    const { app } = setUp()
    await rejection(
      capture(app).transaction(async () => void app.publish(Counted, { left: 1 })),
      'MERSAL_NOT_AWAITED',
    )
    const failure = new Error('work')
    await expect(capture(app).transaction(() => Promise.reject(failure))).rejects.toBe(failure)
    await rejection(capture(app).handle(command('nobody'), {}), 'MERSAL_UNKNOWN_TYPE')
    const bare = new Mersal({ name: 'bare', transport: memoryTransport() })
    await rejection(
      capture(bare).transaction(async () => {}),
      'MERSAL_INVALID_OPTIONS',
    )
  })
})
