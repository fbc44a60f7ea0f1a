import { expect, test } from 'vitest'
import { Mersal } from '../../src/index.ts'
import { memoryStore, memoryTransport } from '../../src/memory.ts'
import { healthIndicator } from '../../src/nestjs.ts'

// Without a relay the database is asked by the check itself, so nothing has to be waited for.
const newApp = () =>
  new Mersal({
    name: 'shop',
    store: memoryStore(),
    transport: memoryTransport(),
    outbox: { runRelay: false },
    logger: false,
  })

test('a health check of Nest is down before the start and after the stop, and up between', async () => {
  const app = newApp()
  const ready = healthIndicator(app)
  const trouble = (reason: string) => ({ part: 'app', name: 'shop', status: 'down', reason })
  expect(await ready()).toEqual({
    mersal: { status: 'down', health: 'down', troubles: [trouble('it has not been started')] },
  })
  await app.start()
  expect(await ready()).toMatchObject({ mersal: { status: 'up' } })
  await app.stop()
  expect(await ready()).toEqual({
    mersal: { status: 'down', health: 'down', troubles: [trouble('it is stopped')] },
  })
})

test('a health check of Nest that asks for life is up before the start', async () => {
  const app = newApp()
  const live = healthIndicator(app, { key: 'shop', asks: 'live' })
  expect(await live()).toMatchObject({ shop: { status: 'up', health: 'down' } })
  await app.start()
  await app.stop()
  expect(await live()).toMatchObject({ shop: { status: 'down', health: 'down' } })
})

test('a broker that is away is told, and fails no health check', async () => {
  const part = { part: 'destination', name: 'mail', status: 'degraded', reason: 'away' } as const
  const store = { part: 'store', name: 'postgres', status: 'ok' } as const
  const health = { status: 'degraded', live: true, ready: true, parts: [store, part] } as const
  const check = healthIndicator({ health: () => Promise.resolve(health) })
  expect(await check()).toEqual({ mersal: { status: 'up', health: 'degraded', troubles: [part] } })
})

test.each([
  [{ key: '' }, 'key'],
  [{ asks: 'health' }, 'asks'],
  [{ name: 'shop' }, 'name'],
])('a health check of Nest refuses %o', (options, field) => {
  expect(() => healthIndicator(newApp(), options as never)).toThrow(
    expect.objectContaining({
      code: 'MERSAL_INVALID_OPTIONS',
      message: expect.stringContaining(field),
    }),
  )
})
