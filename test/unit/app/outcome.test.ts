import { describe, expect, test, vi } from 'vitest'
import { command, Mersal } from '../../../src/index.ts'
import { memoryStore, memoryTransport } from '../../../src/memory.ts'
import { openShop } from '../support/shop.ts'

const Place = command<{ id: number }>('orders.place')
const NOBODY = '01900000-0000-7000-8000-000000000000'

function shop(handler: () => Promise<void> | void) {
  const store = memoryStore()
  const app = new Mersal({
    name: 'shop',
    store,
    transport: memoryTransport(),
    logger: false,
    receive: { immediateRetries: 0 },
  })
  app.handle(Place, handler)
  const place = (options = {}) => app.transaction((_, { send }) => send(Place, { id: 1 }, options))
  return { app, place, store }
}

describe('outcome()', () => {
  test('P4: tells when the handler has committed, and not before', async () => {
    const { promise, resolve } = Promise.withResolvers<void>()
    const { app, place } = shop(() => promise)
    await app.start()
    const id = await place()
    await vi.waitFor(async () => expect(await app.outcome(id)).toBe('left'))
    const waiting = app.outcome(id, { waitMs: 10_000 })
    resolve()
    expect(await waiting).toBe('handled')
    expect(await app.outcome(id.toUpperCase(), { consumer: 'shop' })).toBe('handled')
    expect(await app.outcome(id, { consumer: 'billing' })).toBe('left')
    await app.stop()
    await expect(app.outcome(id)).rejects.toMatchObject({ code: 'MERSAL_APP_STOPPED' })
  })

  test('tells what waits, also of an app that was not started, and what was cancelled', async () => {
    const { app, place } = shop(() => {})
    const id = await place({ delayMs: 60_000 })
    expect(await app.outcome(id)).toBe('waiting')
    await app.transaction((_, { cancel }) => cancel(id))
    expect(await app.outcome(id, { waitMs: 1 })).toBe('left')
    expect(await app.outcome(NOBODY)).toBe('left')
    await app.stop()
  })

  test('ends its waiting when the signal aborts', async () => {
    const { app, place } = shop(() => {})
    const id = await place({ delayMs: 60_000 })
    const signal = AbortSignal.timeout(5)
    await expect(app.outcome(id, { waitMs: 60_000, signal })).rejects.toThrow(/timeout/)
    await app.stop()
  })

  test('P11: ends its waiting when the app stops', async () => {
    const { app, place } = shop(() => {})
    const id = await place({ delayMs: 60_000 })
    const waiting = app.outcome(id, { waitMs: 2000 })
    const ended = expect(waiting).rejects.toMatchObject({ code: 'MERSAL_APP_STOPPED' })
    await vi.waitFor(async () => expect(await app.outcome(id)).toBe('waiting'))
    await app.stop()
    await ended
  })

  test.each([
    ['an id that is none', 'order-1', {}, 'MERSAL_INVALID_MESSAGE', 'id'],
    ['a negative time', NOBODY, { waitMs: -1 }, 'MERSAL_INVALID_OPTIONS', 'outcome().waitMs'],
    [
      'a consumer that is none',
      NOBODY,
      { consumer: '' },
      'MERSAL_INVALID_OPTIONS',
      'outcome().consumer',
    ],
    ['an unknown option', NOBODY, { wait: 1 }, 'MERSAL_INVALID_OPTIONS', 'outcome().wait'],
  ])('refuses %s, and names the field', async (_what, id, options: object, code, field) => {
    const { app } = openShop()
    await expect(app.outcome(id, options)).rejects.toMatchObject({
      code,
      details: { field },
    })
  })

  test('is refused in an app whose store cannot tell', async () => {
    const app = new Mersal({ name: 'plain', transport: memoryTransport(), logger: false })
    await expect(app.outcome(NOBODY)).rejects.toMatchObject({ code: 'MERSAL_INVALID_OPTIONS' })
  })
})
