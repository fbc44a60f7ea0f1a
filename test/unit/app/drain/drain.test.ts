import { describe, expect, test } from 'vitest'
import { command, event, Mersal, type MersalOptions } from '../../../../src/index.ts'
import { memoryDatabase, type MemoryTransaction, memoryStore } from '../../../../src/memory.ts'
import { drain } from '../../../../src/testing/index.ts'
import { rejection } from '../../support/errors.ts'
import { fakeTransport } from '../../support/fake-transport.ts'

const Far = command<object>('to.far')
const Near = command<object>('to.near')
const Placed = event<{ id: number }>('orders.placed')

function setUp(options: Partial<MersalOptions<MemoryTransaction>> = {}) {
  const database = memoryDatabase()
  const store = memoryStore({ database })
  const transport = fakeTransport()
  const app = new Mersal<MemoryTransaction>({
    name: 'shop',
    store,
    transport,
    logger: false,
    ...options,
  })
  const place = (count: number, key?: string) =>
    app.transaction(async (_tx, { publish }) => {
      const more = key === undefined ? {} : { partitionKey: key }
      for (let id = 0; id < count; id++) await publish(Placed, { id }, more)
    })
  const ids = () =>
    transport.published.map(
      ({ body }) => (JSON.parse(Buffer.from(body).toString()) as { id: number }).id,
    )
  const pending = async () => (await store.admin.stats()).pending
  return { app, database, transport, place, ids, pending }
}

const away = { kind: 'unavailable', error: new Error('no broker') } as const

describe('drain of an app in which no relay runs', () => {
  test('publishes what waits, before the start as well, and counts it', async () => {
    const { app, transport, place, pending } = setUp()
    await place(3)
    expect(await app.drain()).toEqual({
      published: 3,
      dead: 0,
      unconfirmed: 0,
      more: false,
      ended: 'nothing-left',
    })
    expect(transport.published).toHaveLength(3)
    expect(await pending()).toBe(0)
    expect(app.state).toBe('idle')
    expect(await app.drain()).toMatchObject({ published: 0, more: false })
    await app.stop()
    await rejection(app.drain(), 'MERSAL_APP_STOPPED')
  })

  test('does so beside a relay that runs elsewhere, and leaves the app without one', async () => {
    const { app, transport, place } = setUp({ outbox: { runRelay: false } })
    await app.start()
    await place(2)
    expect(await app.drain()).toMatchObject({ published: 2 })
    await place(1)
    expect(transport.published).toHaveLength(2)
    expect(await app.drain()).toMatchObject({ published: 1 })
    await app.stop()
  })

  test('ends with maxMessages, and says that there may be more; a key keeps its order', async () => {
    const { app, place, ids, pending } = setUp()
    await place(5, 'a')
    const bounded = { maxMessages: 2 }
    expect(await app.drain(bounded)).toMatchObject({
      published: 2,
      more: true,
      ended: 'max-messages',
    })
    expect(await pending()).toBe(3)
    expect(await app.drain(bounded)).toMatchObject({ published: 2, more: true })
    expect(await app.drain(bounded)).toMatchObject({ published: 1, more: false })
    expect(ids()).toEqual([0, 1, 2, 3, 4])
    await app.stop()
  })

  test('several at once publish each message once, each within its bound', async () => {
    const { app, place, ids } = setUp()
    await place(30)
    const calls = Array.from({ length: 4 }, () => app.drain({ maxMessages: 5 }))
    const results = await Promise.all(calls)
    expect(results.every(({ published }) => published <= 5)).toBe(true)
    const published = results.reduce((sum, one) => sum + one.published, 0)
    expect(ids()).toHaveLength(published)
    expect(await app.drain()).toMatchObject({ published: 30 - published })
    expect(ids().toSorted((a, b) => a - b)).toEqual(Array.from({ length: 30 }, (_, id) => id))
    await app.stop()
  })

  test('a destination that is away is no failure of the call, and loses nothing', async () => {
    const { app, transport, place, pending } = setUp()
    await place(2)
    transport.answer = () => away
    const result = await app.drain()
    expect(result).toMatchObject({ published: 0, dead: 0, more: false, ended: 'nothing-left' })
    expect(result.unconfirmed).toBeGreaterThanOrEqual(1)
    expect(await pending()).toBe(2)
    transport.answer = () => ({ kind: 'confirmed' })
    let published = 0
    const drained = async () => (published += (await app.drain()).published)
    await expect.poll(drained, { timeout: 10_000 }).toBe(2)
    await app.stop()
  })

  test('a destination that is away does not use up the bound of the others', async () => {
    const broken = fakeTransport()
    broken.answer = () => away
    const { app, transport } = setUp({
      bridges: { broken },
      routes: { [Far.name]: { queue: 'far', transport: 'broken' }, [Near.name]: 'near' },
    })
    await app.transaction(async (_tx, { send }) => {
      for (let id = 0; id < 20; id++) await send(Far, {})
      for (let id = 0; id < 3; id++) await send(Near, {})
    })
    expect(await app.drain({ maxMessages: 3 })).toMatchObject({ published: 3 })
    expect(transport.published).toHaveLength(3)
    await app.stop()
  })

  test('counts what is given up, and takes it for done', async () => {
    const { app, transport, place } = setUp()
    await place(3)
    const error = new Error('no such place')
    transport.answer = () => ({ kind: 'refused', reason: 'unroutable', permanent: true, error })
    expect(await app.drain({ maxMessages: 2 })).toMatchObject({ dead: 2, more: true })
    expect(await app.drain()).toMatchObject({ dead: 1, published: 0, more: false })
    await app.stop()
  })

  test('at the deadline it settles what is in hand, and leaves the rest', async () => {
    const { app, transport, place, pending } = setUp()
    await place(6, 'a')
    transport.answer = () =>
      new Promise((resolve) => setTimeout(() => resolve({ kind: 'confirmed' }), 250))
    const began = performance.now()
    const result = await app.drain({ deadlineMs: 1200 })
    expect(performance.now() - began).toBeLessThan(1300)
    expect(result).toMatchObject({ more: true, ended: 'deadline', unconfirmed: 0 })
    expect(result.published).toBeGreaterThanOrEqual(1)
    expect(result.published).toBe(transport.published.length)
    expect(await pending()).toBe(6 - result.published)
    // Nothing is held, so the next call goes on at once.
    transport.answer = () => ({ kind: 'confirmed' })
    expect(await app.drain()).toMatchObject({ published: 6 - result.published })
    await app.stop()
  })

  test('a broker without answer holds it up until the deadline, no longer', async () => {
    const { app, transport, place, pending } = setUp()
    await place(1)
    transport.answer = () => new Promise(() => {})
    const result = await app.drain({ deadlineMs: 60 })
    expect(result).toMatchObject({ published: 0, unconfirmed: 1, more: true, ended: 'deadline' })
    expect(await pending()).toBe(1)
    await app.stop()
  })

  test('a store that does not open holds it up until the deadline, no longer', async () => {
    const store = { ...memoryStore(), open: () => new Promise<void>(() => {}) }
    const { app } = setUp({ store })
    expect(await app.drain({ deadlineMs: 40 })).toMatchObject({ published: 0, ended: 'deadline' })
  })

  test('a signal gives it up with its reason, after what is in hand was settled', async () => {
    const { app, transport, place, pending } = setUp()
    await place(5, 'a')
    const giveUp = new AbortController()
    const reason = new Error('the client has gone')
    transport.answer = async () => {
      giveUp.abort(reason)
      await new Promise((resolve) => setTimeout(resolve, 20))
      return { kind: 'confirmed' }
    }
    await expect(app.drain({ signal: giveUp.signal })).rejects.toBe(reason)
    expect(transport.published).toHaveLength(1)
    expect(await pending()).toBe(4)
    await expect(app.drain({ signal: giveUp.signal })).rejects.toBe(reason)
    await app.stop()
  })

  test('stop() waits for what is in its hand', async () => {
    const { app, transport, place, pending } = setUp()
    await place(5, 'a')
    const began = Promise.withResolvers<void>()
    transport.answer = async () => {
      began.resolve()
      await new Promise((resolve) => setTimeout(resolve, 20))
      return { kind: 'confirmed' }
    }
    const draining = rejection(app.drain(), 'MERSAL_APP_STOPPED')
    await began.promise
    await app.stop()
    await draining
    expect(await pending()).toBe(5 - transport.published.length)
    expect(transport.published.length).toBeLessThan(5)
  })

  test('does nothing in an app without an outbox', async () => {
    const app = new Mersal({ name: 'shop', transport: fakeTransport(), logger: false })
    expect(await app.drain({ maxMessages: 1 })).toMatchObject({ published: 0, more: false })
  })
})

describe('drain of an app whose relay runs', () => {
  test('waits for that relay, and counts what it publishes meanwhile', async () => {
    const { app, place } = setUp({ outbox: { relay: { express: false } } })
    await app.start()
    await place(4)
    expect(await app.drain()).toMatchObject({ published: 4, more: false })
    expect(await app.drain()).toMatchObject({ published: 0 })
    await app.stop()
  })

  test('its bounds end the waiting, and the relay goes on', async () => {
    const { app, transport, place, pending } = setUp({ outbox: { relay: { express: false } } })
    await app.start()
    await place(4, 'a')
    const answers: (() => void)[] = []
    transport.answer = () =>
      new Promise((resolve) => answers.push(() => resolve({ kind: 'confirmed' })))
    expect(await app.drain({ deadlineMs: 30 })).toMatchObject({ published: 0, ended: 'deadline' })
    const one = app.drain({ maxMessages: 1 })
    await expect.poll(() => answers.length).toBe(1)
    answers[0]?.()
    expect(await one).toMatchObject({ published: 1, ended: 'max-messages' })
    transport.answer = () => ({ kind: 'confirmed' })
    await expect.poll(() => answers.length).toBe(2)
    answers[1]?.()
    await expect.poll(pending).toBe(0)
    await app.stop()
  })
})

describe('bad bounds', () => {
  test.each([
    ['maxMessages', 0],
    ['maxMessages', -1],
    ['maxMessages', 1.5],
    ['maxMessages', Number.NaN],
    ['maxMessages', '10'],
    ['deadlineMs', 0],
    ['deadlineMs', -200],
    ['deadlineMs', Number.NaN],
    ['deadlineMs', Infinity],
    ['deadlineMs', 86_400_001],
    ['deadlineMs', new Date(0)],
  ])('%s: %s is refused by its name, and nothing is published', async (field, value) => {
    const { app, transport, place } = setUp()
    await place(1)
    await expect(app.drain({ [field]: value })).rejects.toMatchObject({
      code: 'MERSAL_INVALID_OPTIONS',
      message: expect.stringContaining(`drain().${field}: expected `),
      details: { field: `drain().${field}` },
    })
    expect(transport.published).toEqual([])
  })

  test('an option with a slip gets a suggestion', async () => {
    const { app } = setUp()
    await expect(app.drain({ maxMessage: 3 } as never)).rejects.toThrow(
      "did you mean 'maxMessages'?",
    )
  })
})

test('drain() of mersal/testing says that it needs a started app', async () => {
  const { app } = setUp()
  await rejection(drain(app), 'MERSAL_INVALID_OPTIONS')
})
