import { channel } from 'node:diagnostics_channel'
import { describe, expect, onTestFinished, test } from 'vitest'
import { Mersal, type Store, command } from '../../../../src/index.ts'
import { type MemoryTransaction, memoryTransport } from '../../../../src/memory.ts'
import { manualClock } from '../../../../src/testing/index.ts'
import { fakeTransport, json } from '../../support/fake-transport.ts'
import { type ShopOptions, openShop } from '../../support/shop.ts'

const Place = command<{ id: number }>('orders.place')
const iso = (at: number): string => new Date(at).toISOString()
/** What every message of an app carries. */
const ours = { 'sent-at': iso(0), sender: 'till' }

function expiring(expiresAt: number, id = 1) {
  const headers = { ...ours, 'expires-at': iso(expiresAt) }
  return { id: `order-${id}`, type: Place.name, body: json({ id }), headers }
}

/** The outcomes of deliveries, and the ids that were reported as expired. */
function told() {
  const seen = { outcomes: [] as string[], expired: [] as string[] }
  const onHandle = (event: unknown): void =>
    void seen.outcomes.push((event as { outcome: string }).outcome)
  const onExpired = (event: unknown): void => void seen.expired.push((event as { id: string }).id)
  channel('mersal:handle').subscribe(onHandle)
  channel('mersal:expired').subscribe(onExpired)
  onTestFinished(() => {
    channel('mersal:handle').unsubscribe(onHandle)
    channel('mersal:expired').unsubscribe(onExpired)
  })
  return seen
}

/** A shop whose database can be away. */
async function shopWith(options: ShopOptions = {}, batch = 1) {
  const clock = manualClock()
  const store = { away: false, units: 0 }
  const change = (given: Store<MemoryTransaction>): Store<MemoryTransaction> => ({
    ...given,
    unitOfWork: async (work, more) => {
      store.units++
      if (store.away) throw Object.assign(new Error('refused'), { code: 'ECONNREFUSED' })
      return given.unitOfWork(work, more)
    },
  })
  const shop = openShop({ clock, change, ...options })
  const handled: number[] = []
  const handler = { fail: (): Promise<void> => Promise.resolve() }
  shop.app.handle(
    Place,
    async ({ id }) => {
      handled.push(id)
      await handler.fail()
    },
    { batch },
  )
  await shop.app.start()
  onTestFinished(() => shop.app.stop())
  return { ...shop, clock, handled, handler, store, seen: told() }
}

const letter = { kind: 'reject', reason: 'expired', error: { code: 'MERSAL_EXPIRED' } }

describe('a message that arrives', () => {
  test('before its end is handled', async () => {
    const { transport, clock, handled } = await shopWith()
    expect(await transport.deliver('shop', expiring(clock.now() + 1))).toEqual({ kind: 'ack' })
    expect(handled).toEqual([1])
  })

  test.each([0, 1000])('%i ms after its end becomes a dead letter', async (lateMs) => {
    const { transport, clock, handled, seen } = await shopWith()
    const disposition = await transport.deliver('shop', expiring(clock.now() - lateMs))
    expect(disposition).toMatchObject(letter)
    expect(handled).toEqual([])
    expect(seen).toEqual({ outcomes: ['expired'], expired: ['order-1'] })
  })

  test('too late goes if so wished, and the database is not asked', async () => {
    const { transport, clock, handled, seen, store } = await shopWith({
      receive: { onExpired: 'discard' },
    })
    store.away = true
    const before = store.units
    expect(await transport.deliver('shop', expiring(clock.now()))).toEqual({ kind: 'ack' })
    expect(store.units).toBe(before)
    expect(handled).toEqual([])
    expect(seen).toEqual({ outcomes: ['expired'], expired: ['order-1'] })
  })

  test('onExpired of another name is refused at once', () => {
    const onExpired = 'drop' as 'discard'
    expect(() => openShop({ receive: { onExpired } })).toThrow(/receive\.onExpired/)
  })

  test.each([
    ['a number', { ...ours, 'expires-at': '5' }],
    ['another form of a time', { ...ours, 'expires-at': '2001-05-01T00:00:00Z' }],
    ['the time of a program that is not ours', { 'expires-at': '2001-05-01T00:00:00.000Z' }],
  ])('with %s in the header is handled', async (_, headers) => {
    const { transport, handled } = await shopWith()
    const message = { ...expiring(0), headers }
    expect(await transport.deliver('shop', message)).toEqual({ kind: 'ack' })
    expect(handled).toEqual([1])
  })
})

describe.each(['dead-letter', 'discard'] as const)('a message that expires (%s)', (onExpired) => {
  const end = onExpired === 'discard' ? { kind: 'ack' } : letter

  test('while the database is away is not handled when it is back', async () => {
    const { transport, clock, handled, seen, store } = await shopWith({ receive: { onExpired } })
    store.away = true
    const inHand = [1, 2].map((id) => transport.deliver('shop', expiring(clock.now() + 1000, id)))
    await clock.advance(30_000)
    const late = transport.deliver('shop', expiring(clock.now() + 1000, 3))
    await clock.advance(30_000)
    store.away = false
    await clock.advance(30_000)
    for (const disposition of await Promise.all([...inHand, late]))
      expect(disposition).toMatchObject(end)
    expect(handled).toEqual([])
    expect(seen.outcomes).toEqual(['expired', 'expired', 'expired'])
    expect(seen.expired.sort()).toEqual(['order-1', 'order-2', 'order-3'])
  })

  test('after a try that failed gets no other one', async () => {
    const { transport, clock, handled, handler, seen } = await shopWith({
      receive: { onExpired, immediateRetries: 3 },
    })
    handler.fail = async () => {
      await clock.advance(1000)
      throw new Error('no paper')
    }
    const disposition = await transport.deliver('shop', expiring(clock.now() + 500))
    expect(disposition).toMatchObject(end)
    expect(handled).toEqual([1])
    expect(seen).toEqual({ outcomes: ['expired'], expired: ['order-1'] })
  })

  test('while a step of the user waits is not handled', async () => {
    const clock = manualClock()
    const slow = {
      name: 'slow',
      run: async <Result>(_: unknown, next: () => Promise<Result>): Promise<Result> => {
        await clock.advance(1000)
        return next()
      },
    }
    const options = { clock, incoming: [slow], receive: { onExpired } }
    const { transport, handled } = await shopWith(options)
    expect(await transport.deliver('shop', expiring(clock.now() + 500))).toMatchObject(end)
    expect(handled).toEqual([])
  })

  test('takes none of those along with which it would share a transaction', async () => {
    const { transport, clock, handled, seen } = await shopWith({ receive: { onExpired } }, 10)
    const ends = [60_000, -1, 60_000, -1, 60_000]
    const given = ends.map((inMs, id) =>
      transport.deliver('shop', expiring(clock.now() + inMs, id)),
    )
    const dispositions = await Promise.all(given)
    for (const [at, inMs] of ends.entries())
      expect(dispositions[at]).toMatchObject(inMs < 0 ? end : { kind: 'ack' })
    expect(handled.toSorted((left, right) => left - right)).toEqual([0, 2, 4])
    expect(seen.expired.sort()).toEqual(['order-1', 'order-3'])
  })
})

describe('a message that was handled and comes again after its end', () => {
  test.each(['skip', 'flag'] as const)('is a duplicate (%s)', async (onDuplicate) => {
    const { transport, clock, handled, seen } = await shopWith({ idempotency: { onDuplicate } })
    const message = expiring(clock.now() + 500)
    await transport.deliver('shop', message)
    await clock.advance(1000)
    const again = await transport.deliver('shop', message, { attempt: 2 })
    expect(again).toEqual({ kind: 'ack' })
    expect(handled).toEqual([1])
    expect(seen).toEqual({ outcomes: ['handled', 'duplicate'], expired: [] })
  })

  test('without an inbox: its dead letter says that it may have been handled', async () => {
    const clock = manualClock()
    const transport = fakeTransport()
    const app = new Mersal({ name: 'shop', transport, clock, logger: false })
    app.handle(Place, () => {})
    await app.start()
    onTestFinished(() => app.stop())
    const message = expiring(clock.now() + 500)
    await transport.deliver('shop', message)
    await clock.advance(1000)
    const again = await transport.deliver('shop', message, { attempt: 2 })
    expect(again).toMatchObject(letter)
    expect(again).toHaveProperty('error.message', expect.stringMatching(/may have been handled/))
  })
})

test('a dead letter that an operator puts back after its end becomes one again', async () => {
  const clock = manualClock()
  const broker = memoryTransport({ clock })
  const { app } = openShop({ clock, transport: broker, receive: { maxDeliveries: 1 } })
  let calls = 0
  app.handle(Place, () => {
    calls++
    throw new Error('no paper')
  })
  await app.start()
  onTestFinished(() => app.stop())
  const to = { transport: 'default', kind: 'queue', name: 'shop' } as const
  await Promise.all(broker.publish([{ ...expiring(clock.now() + 500), to }]))
  const box = broker.operations?.deadLetters?.('shop')
  await expect.poll(() => box?.list()).toMatchObject([{ reason: 'handler-failed' }])
  await clock.advance(1000)
  const [given] = (await box?.list()) ?? []
  await box?.retry([given?.key ?? ''])
  await expect.poll(() => box?.list()).toMatchObject([{ id: 'order-1', reason: 'expired' }])
  expect(calls).toBe(1)
})
