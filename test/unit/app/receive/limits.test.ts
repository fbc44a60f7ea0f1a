import { describe, expect, test, vi } from 'vitest'
import { Groups } from '../../../../src/app/receive/limits/groups.ts'
import { command, headerNames, type LimitOptions, retryLater } from '../../../../src/index.ts'
import type { Disposition } from '../../../../src/core/transport.ts'
import { manualClock } from '../../../../src/testing/index.ts'
import { json } from '../../support/fake-transport.ts'
import { openShop, type ShopOptions } from '../../support/shop.ts'

const Bill = command<{ id: number }>('bills.send')
const Ship = command<{ id: number }>('ships.send')

const bill = (id: number, key?: string) => ({
  type: Bill.name,
  body: json({ id }),
  headers: key === undefined ? {} : { [headerNames.partitionKey]: key },
})

/** An app whose handlers of `Bill` end when the test says so, and how they stand. */
async function open(
  limit: LimitOptions | readonly LimitOptions[] | undefined,
  options: ShopOptions = {},
) {
  const shop = openShop({ receive: { concurrency: 100 }, ...options })
  const running: { readonly id: number; readonly end: (error?: Error) => void }[] = []
  shop.app.handle(
    Bill,
    async ({ id }) => {
      const { promise, resolve, reject } = Promise.withResolvers<void>()
      const mine = { id, end: (error?: Error) => (error === undefined ? resolve() : reject(error)) }
      running.push(mine)
      await promise.finally(() => running.splice(running.indexOf(mine), 1))
    },
    limit === undefined ? {} : { limit },
  )
  const ships: number[] = []
  shop.app.handle(Ship, ({ id }) => void ships.push(id))
  await shop.app.start()
  const ids = (): number[] => running.map(({ id }) => id)
  const give = (...all: readonly ReturnType<typeof bill>[]): Promise<Disposition>[] =>
    all.map((message) => shop.transport.deliver('shop', message))
  return { ...shop, running, ids, ships, give }
}

const settled = (): Promise<void> => new Promise((resolve) => void setTimeout(resolve, 5))

describe('a limit on the messages of a type', () => {
  test('holds, and lets the next one begin in the order in which they came', async () => {
    const { app, ids, running, give } = await open({ concurrency: 2 })
    const ends = give(...[1, 2, 3, 4].map((id) => bill(id)))
    await vi.waitFor(() => expect(ids()).toEqual([1, 2]))
    running[1]?.end()
    await vi.waitFor(() => expect(ids()).toEqual([1, 3]))
    running[0]?.end()
    await vi.waitFor(() => expect(ids()).toEqual([3, 4]))
    running.forEach(({ end }) => end())
    expect((await Promise.all(ends)).map(({ kind }) => kind)).toEqual(Array(4).fill('ack'))
    await app.stop()
  })

  test('holds up no message of another type, however many wait', async () => {
    const { app, ids, running, ships, give, transport } = await open({ concurrency: 1 })
    const ends = give(...Array.from({ length: 300 }, (_, id) => bill(id)))
    await vi.waitFor(() => expect(ids()).toEqual([0]))
    const ship = { type: Ship.name, body: json({ id: 7 }) }
    expect(await transport.deliver('shop', ship)).toEqual({ kind: 'ack' })
    expect(ships).toEqual([7])
    while (running.length > 0) {
      running[0]?.end()
      await settled()
    }
    const kinds = (await Promise.all(ends)).map(({ kind }) => kind)
    expect(kinds.filter((kind) => kind === 'ack')).toHaveLength(21)
    expect(kinds.filter((kind) => kind === 'retry')).toHaveLength(279)
    await app.stop()
  })

  test('charges nothing to what goes back, and spreads it over the time', async () => {
    const { app, running, give } = await open({ concurrency: 1 })
    const ends = give(...Array.from({ length: 100 }, (_, id) => bill(id)))
    const back = (await Promise.all(ends.slice(21))) as Extract<Disposition, { kind: 'retry' }>[]
    for (const { kind, postponedSince, delayMs, error } of back) {
      expect([kind, postponedSince]).toEqual(['retry', Date.UTC(9999, 0, 1)])
      expect(delayMs).toBeGreaterThanOrEqual(1000)
      expect(delayMs).toBeLessThanOrEqual(60_000)
      expect(error).toMatchObject({ code: 'MERSAL_LIMITED' })
    }
    expect(new Set(back.map(({ delayMs }) => delayMs)).size).toBeGreaterThan(50)
    void app.stop()
    await settled()
    for (const { end } of running) end()
  })

  test('does not shorten the time of a wish that comes after it', async () => {
    const clock = manualClock()
    const { app, transport } = openShop({ clock, receive: { giveUpAfterMs: 5000 } })
    app.handle(Bill, () => retryLater(2000), { limit: { concurrency: 1 } })
    await app.start()
    const postponedSince = Date.UTC(9999, 0, 1)
    const wish = await transport.deliver('shop', bill(1), { postponedSince })
    expect(wish).toMatchObject({ kind: 'retry', delayMs: 2000, postponedSince: clock.now() })
    await app.stop()
  })

  test('is left by a message that the transport has lost, and by one that fails', async () => {
    const { app, ids, running, give, transport } = await open({ concurrency: 1 })
    const lost = new AbortController()
    const [first] = give(bill(1))
    const second = transport.deliver('shop', bill(2), { signal: lost.signal })
    const [third] = give(bill(3))
    await settled()
    lost.abort()
    expect(await second).toEqual({ kind: 'release' })
    running[0]?.end(new Error('no'))
    expect(await first).toMatchObject({ kind: 'retry', error: { message: 'no' } })
    await vi.waitFor(() => expect(ids()).toEqual([3]))
    running[0]?.end()
    expect(await third).toEqual({ kind: 'ack' })
    await app.stop()
  })

  test('gives back what waits as soon as the app stops', async () => {
    const { app, running, give } = await open({ concurrency: 1 })
    const [first, ...others] = give(...[1, 2, 3].map((id) => bill(id)))
    await settled()
    const stopped = app.stop()
    expect(await Promise.all(others)).toEqual([{ kind: 'release' }, { kind: 'release' }])
    running[0]?.end()
    expect(await first).toEqual({ kind: 'ack' })
    await stopped
  })

  test('lets a message wait in memory for two minutes at most', async () => {
    const clock = manualClock()
    const options = { clock, receive: { concurrency: 100, handlerTimeoutMs: 1_000_000 } }
    const { app, running, give } = await open({ concurrency: 1 }, options)
    const [, second] = give(bill(1), bill(2))
    await settled()
    await clock.advance(119_000)
    const early = await Promise.race([second, settled()])
    expect(early).toBeUndefined()
    await clock.advance(2000)
    expect(await second).toMatchObject({ kind: 'retry', error: { code: 'MERSAL_LIMITED' } })
    running[0]?.end()
    await app.stop()
  })
})

describe('a rate', () => {
  test('lets messages begin evenly', async () => {
    const clock = manualClock()
    const { app, transport } = openShop({ clock, receive: { concurrency: 100 } })
    const begun: number[] = []
    app.handle(Bill, () => void begun.push(clock.monotonic()), { limit: { perSecond: 10 } })
    await app.start()
    const ends = Array.from({ length: 12 }, (_, id) => transport.deliver('shop', bill(id)))
    await settled()
    for (let step = 0; step < 25; step++) await clock.advance(50)
    expect(begun).toEqual([0, 50, ...Array.from({ length: 10 }, (_, n) => 150 + n * 100)])
    await Promise.all(ends)
    await app.stop()
  })

  test('counts each try, so that none follows at once', async () => {
    const { app, transport } = openShop({ receive: { immediateRetries: 5 } })
    const handler = vi.fn<() => void>(() => {
      throw new Error('no')
    })
    app.handle(Bill, handler, { limit: { perSecond: 10 } })
    await app.start()
    expect(await transport.deliver('shop', bill(1))).toMatchObject({ kind: 'retry' })
    expect(handler).toHaveBeenCalledTimes(1)
    await app.stop()
  })
})

describe('a limit of each group', () => {
  test('is one for each key, and none without a key', async () => {
    const { app, ids, running, give } = await open({ concurrency: 1, by: 'key' })
    const keys = ['a', 'a', 'b', undefined, undefined]
    const ends = give(...keys.map((key, index) => bill(index + 1, key)))
    await vi.waitFor(() => expect(ids()).toEqual([1, 3, 4, 5]))
    running[0]?.end()
    await vi.waitFor(() => expect(ids()).toEqual([3, 4, 5, 2]))
    running.forEach(({ end }) => end())
    await Promise.all(ends)
    await app.stop()
  })

  test('is named by a function, which is logged and lifts nothing when it fails', async () => {
    const error = vi.fn<(fields: object, text: string) => void>()
    const nothing = (): void => {}
    const logger = { debug: nothing, info: nothing, warn: nothing, error }
    const by = ({ headers }: { headers: Readonly<Record<string, string>> }): string => {
      const key = headers[headerNames.partitionKey] as string
      if (key === 'bad') throw new Error('what is this')
      return key === 'number' ? (5 as unknown as string) : key
    }
    const { app, ids, running, give } = await open({ concurrency: 1, by }, { logger })
    const ends = give(bill(1, 'a'), bill(2, 'bad'), bill(3, 'bad'), bill(4, 'number'))
    await vi.waitFor(() => expect(ids()).toEqual([1, 2]))
    expect(error.mock.calls.map(([, text]) => text)).toEqual(
      Array(3).fill(expect.stringContaining("handle('bills.send').limit.by is of no use here")),
    )
    while (running.length > 0) {
      running[0]?.end()
      await settled()
    }
    await Promise.all(ends)
    await app.stop()
  })

  test('stands beside others: each of them has to have a place', async () => {
    const limits = [{ concurrency: 1, by: 'key' }, { concurrency: 2 }] as const
    const { app, ids, running, give } = await open(limits)
    const ends = give(...['a', 'a', 'b', 'c'].map((key, index) => bill(index + 1, key)))
    await vi.waitFor(() => expect(ids()).toEqual([1, 3]))
    running[1]?.end()
    await vi.waitFor(() => expect(ids()).toEqual([1, 4]))
    running[0]?.end()
    await vi.waitFor(() => expect(ids()).toEqual([4, 2]))
    running.forEach(({ end }) => end())
    await Promise.all(ends)
    await app.stop()
  })

  test('of all types together stands in receive', async () => {
    const receive = { concurrency: 100, limit: { concurrency: 1 } }
    const { app, ids, running, ships, give, transport } = await open(undefined, { receive })
    const [first] = give(bill(1))
    await vi.waitFor(() => expect(ids()).toEqual([1]))
    const ship = transport.deliver('shop', { type: Ship.name, body: json({ id: 7 }) })
    await settled()
    expect(ships).toEqual([])
    running[0]?.end()
    expect(await Promise.all([first, ship])).toEqual([{ kind: 'ack' }, { kind: 'ack' }])
    await app.stop()
  })

  test('keeps only the groups that still count', () => {
    const groups = new Groups()
    for (let name = 0; name < 50_000; name++) groups.get(`${name}`, name)
    expect(groups.size).toBeLessThanOrEqual(2001)
    const held = new Groups()
    for (let name = 0; name < 100_000; name++)
      Object.assign(held.get(`${name}`, 0) ?? {}, { running: 1 })
    expect(held.get('one more', 5000)).toBeUndefined()
    expect(held.get('99', 5000)).toMatchObject({ running: 1 })
  })
})

describe('beside limits', () => {
  test('no more handlers run at a time than receive.concurrency says', async () => {
    const options = { receive: { concurrency: 3 } }
    const { app, ids, running, give } = await open({ concurrency: 3, by: 'key' }, options)
    const ends = give(...Array.from({ length: 10 }, (_, id) => bill(id)))
    await vi.waitFor(() => expect(ids()).toEqual([0, 1, 2]))
    while (running.length > 0) {
      expect(running.length).toBeLessThanOrEqual(3)
      running[0]?.end()
      await settled()
    }
    await Promise.all(ends)
    await app.stop()
  })

  test('as many more messages are fetched as may wait, and none without limits', async () => {
    const fetched = async (limit: LimitOptions | undefined): Promise<number> => {
      const { app, transport } = openShop({ receive: { concurrency: 10 } })
      const consume = vi.spyOn(transport, 'consume')
      app.handle(Bill, () => {}, limit === undefined ? {} : { limit })
      await app.start()
      await app.stop()
      return consume.mock.calls[0]?.[0].concurrency ?? 0
    }
    expect(await fetched(undefined)).toBe(10)
    expect(await fetched({ concurrency: 5 })).toBe(30)
    expect(await fetched({ concurrency: 5, by: 'key' })).toBe(110)
    expect(await fetched({ perSecond: 10_000, by: 'key' })).toBe(1010)
  })
})

describe('what could not work is refused by name', () => {
  const wrong: readonly (readonly [unknown, string, string])[] = [
    [{}, 'limit', 'limits nothing: give it concurrency, perSecond or both'],
    [{ by: 'key' }, 'limit', 'limits nothing'],
    [5, 'limit', 'expected an object with options'],
    [{ concurrency: 0 }, 'limit.concurrency', 'expected a whole number from 1 to 10000, got 0'],
    [{ concurrency: 1.5 }, 'limit.concurrency', 'expected a whole number'],
    [{ concurrency: 11 }, 'limit.concurrency', '11 is more than the 10 messages'],
    [{ perSecond: 0 }, 'limit.perSecond', 'expected a number from 0.001 to 10000, got 0'],
    [{ perSecond: Number.NaN }, 'limit.perSecond', 'got NaN'],
    [{ perSecond: '5' }, 'limit.perSecond', 'expected a number'],
    [{ concurrency: 1, by: 'customer' }, 'limit.by', "expected 'key', or a function"],
    [{ concurrency: 1, persecond: 1 }, 'limit.persecond', "did you mean 'perSecond'?"],
    [[{ concurrency: 1 }, { concurrency: -1 }], 'limit[1].concurrency', 'got -1'],
    [
      Array.from({ length: 11 }, () => ({ concurrency: 1 })),
      'limit',
      'expected at most 10 limits, got 11',
    ],
  ]
  test.each(wrong)('%o: %s', (limit, field, text) => {
    const { app } = openShop()
    const options = { limit: limit as LimitOptions }
    const error = (prefix: string) =>
      expect.objectContaining({
        code: 'MERSAL_INVALID_OPTIONS',
        details: { field: `${prefix}${field}` },
        message: expect.stringContaining(text),
      })
    expect(() => app.handle(Bill, () => {}, options)).toThrow(error("handle('bills.send')."))
    expect(() => openShop({ receive: options })).toThrow(error('receive.'))
  })
})
