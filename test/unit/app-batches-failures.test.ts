import { describe, expect, test, vi } from 'vitest'
import { MersalError, type Store, reject } from '../../src/index.ts'
import type { MemoryTransaction } from '../../src/memory.ts'
import { manualClock } from '../../src/testing/index.ts'
import { Placed, acks, around, batchShop, numbers } from './support/batch-shop.ts'

describe('a failure costs nobody else anything', () => {
  test('the message whose handler fails is handled apart, and the others without it', async () => {
    const failure = new Error('no stock')
    const shop = await batchShop({}, (id, { attempt }) => {
      if (id === 3) throw attempt === 1 ? failure : new Error('a later try')
    })
    const outcomes = await shop.placeAll(numbers(5))
    expect(outcomes).toEqual([...acks(2), { kind: 'retry', delayMs: 1000, error: failure }, ...acks(2)])
    expect(shop.units()).toEqual([[1, 2, 3], [1, 2], [3], [4, 5]])
    expect((await shop.orders()).toSorted()).toEqual([1, 2, 4, 5].map((id) => `order ${id}`))
    await shop.app.stop()
  })

  test('its immediate retries are those that it has alone', async () => {
    const tries: number[] = []
    const shop = await batchShop({ receive: { immediateRetries: 1 } }, (id, { attempt }) => {
      if (id !== 2) return
      tries.push(attempt)
      throw new Error('always')
    })
    const [, second] = await shop.placeAll([1, 2, 3])
    expect(second).toMatchObject({ kind: 'retry' })
    expect(tries).toEqual([1, 1, 2])
    await shop.app.stop()
  })

  test('a message that is rejected becomes a dead letter alone', async () => {
    const shop = await batchShop({}, (id) => {
      if (id === 1) reject('unknown customer')
    })
    expect(await shop.placeAll([1, 2])).toEqual([expect.objectContaining({ kind: 'reject', reason: 'rejected' }), { kind: 'ack' }])
    expect(await shop.orders()).toEqual(['order 2'])
    await shop.app.stop()
  })

  test('a send that is not awaited fails its own message only', async () => {
    const shop = await batchShop({}, (id, { publish }) => {
      if (id === 2) void publish(Placed, { id })
    })
    const notAwaited: unknown = expect.objectContaining({
      kind: 'retry',
      error: expect.objectContaining({ code: 'MERSAL_NOT_AWAITED' }) as unknown,
    })
    expect(await shop.placeAll([1, 2, 3])).toEqual([{ kind: 'ack' }, notAwaited, { kind: 'ack' }])
    expect(await shop.rows()).toEqual([])
    await shop.app.stop()
  })

  test('a transaction that cannot be committed is halved until the one that spoils it is alone', async () => {
    let spoiled: () => boolean = () => false
    const failure = new Error('a deferred constraint')
    const change = (store: Store<MemoryTransaction>): Store<MemoryTransaction> => ({
      ...store,
      unitOfWork: (work, options) =>
        store.unitOfWork(async (tx, repeat) => {
          const result = await work(tx, repeat)
          if (spoiled()) throw failure
          return result
        }, options),
    })
    const shop = await batchShop({ change }, () => {})
    spoiled = () => shop.units().at(-1)?.includes(4) === true
    const outcomes = await shop.placeAll(numbers(5))
    expect(outcomes).toEqual([...acks(3), { kind: 'retry', delayMs: 1000, error: failure }, { kind: 'ack' }])
    expect(shop.units()).toEqual([[1, 2, 3, 4, 5], [1, 2, 3], [4, 5], [4], [5]])
    await shop.app.stop()
  })

  test('when the database is away, each message fails for itself, and nothing is tried for each of them in a row', async () => {
    let begun = 0
    const away = new MersalError('MERSAL_UNAVAILABLE', 'no connection')
    const refuse = around(() => {
      begun++
      return Promise.reject(away)
    })
    const shop = await batchShop({ change: refuse }, () => {})
    expect(await shop.placeAll(numbers(8))).toEqual(numbers(8).map(() => ({ kind: 'retry', delayMs: 1000, error: away })))
    expect(begun).toBe(1)
    await shop.app.stop()
  })

  test('a message that comes again is handled alone: it may be the one that ended the process', async () => {
    const shop = await batchShop({}, () => {})
    const all = [shop.place(1), shop.place(2, { attempt: 2 }), shop.place(3), shop.place(4, { attempt: 3 })]
    expect(await Promise.all(all)).toEqual(acks(4))
    expect(shop.units().toSorted((a, b) => Number(a[0]) - Number(b[0]))).toEqual([[1, 3], [2], [4]])
    await shop.app.stop()
  })

  test('a delivery that the transport has lost is released, and the others are handled', async () => {
    const lost = new AbortController()
    const shop = await batchShop({}, (id) => {
      if (id === 2 && !lost.signal.aborted) lost.abort(new Error('lost'))
    })
    const all = [shop.place(1, { signal: lost.signal }), shop.place(2), shop.place(3)]
    expect(await Promise.all(all)).toEqual([{ kind: 'release' }, ...acks(2)])
    expect((await shop.orders()).toSorted()).toEqual(['order 2', 'order 3'])
    await shop.app.stop()
  })

  test('those that take too long together are handled apart, with a warning that names the remedy', async () => {
    const clock = manualClock()
    const warnings: unknown[] = []
    const logger = { debug: () => {}, info: () => {}, error: () => {}, warn: (fields: object) => void warnings.push(fields) }
    const shop = await batchShop({ clock, logger, receive: { handlerTimeoutMs: 1000 } }, () => clock.sleep(400))
    const all = shop.placeAll([1, 2, 3])
    await vi.waitFor(() => expect(shop.units()).toHaveLength(1))
    // 1,000 ms until they are given up, 800 for the first two, 400 for the third.
    for (let elapsed = 0; elapsed < 2200; elapsed += 100) await clock.advance(100)
    expect(await all).toEqual(acks(3))
    expect(shop.units()).toEqual([[1, 2, 3], [1, 2], [3]])
    expect(warnings).toEqual([{ app: 'shop', type: 'orders.place', messages: 3, error: expect.stringContaining('lower batch') as string }])
    await shop.app.stop()
  })

  test('a handler that goes on after its time is up writes and sends nothing any more', async () => {
    const clock = manualClock()
    const goOn = Promise.withResolvers<void>()
    const late = Promise.withResolvers<unknown>()
    let calls = 0
    const shop = await batchShop({ clock, receive: { handlerTimeoutMs: 1000 } }, async (id, { publish }) => {
      if (id !== 2 || ++calls > 1) return
      await goOn.promise
      await publish(Placed, { id }).catch(late.resolve)
    })
    const all = shop.placeAll([1, 2])
    await vi.waitFor(() => expect(calls).toBe(1))
    await clock.advance(1000)
    expect(await all).toEqual(acks(2))
    goOn.resolve()
    expect(await late.promise).toMatchObject({ code: 'MERSAL_UNIT_ENDED' })
    expect(await shop.rows()).toEqual([])
    await shop.app.stop()
  })

  test('a stop by force rolls everything back, and every message goes back to its queue', async () => {
    const shop = await batchShop({ receive: { concurrency: 2 }, batch: 2 }, () => new Promise(() => {}))
    const all = shop.placeAll([1, 2, 3])
    await vi.waitFor(() => expect(shop.units()).toHaveLength(1))
    await expect(shop.app.stop({ graceMs: 10 })).rejects.toMatchObject({ code: 'MERSAL_STOP_TIMEOUT' })
    expect(await all).toEqual([{ kind: 'release' }, { kind: 'release' }, { kind: 'release' }])
  })
})
