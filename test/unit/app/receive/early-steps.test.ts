import { describe, expect, test, vi } from 'vitest'
import { type Disposition, type IncomingStep, Mersal, type Store } from '../../../../src/index.ts'
import type { MemoryTransaction } from '../../../../src/memory.ts'
import { manualClock } from '../../../../src/testing/index.ts'
import { fakeTransport, json } from '../../support/fake-transport.ts'
import { Place, acks, batchShop } from './shared/batch-shop.ts'

/** Settles every delivery before its handler has ended, and notes what becomes of the handler. */
function early() {
  const failures: unknown[] = []
  const run: IncomingStep['run'] = (_, next) => {
    next().catch((error: unknown) => void failures.push(error))
    return Promise.resolve<Disposition>({ kind: 'ack' })
  }
  return { failures, step: { name: 'early', run } }
}

/** Never ends. */
const stuck = (): Promise<never> => new Promise(() => {})
const stopTimeout = expect.objectContaining({ code: 'MERSAL_STOP_TIMEOUT' }) as Error

describe('a stop by force reaches what a step has settled early', () => {
  test('P11: a message that still waits in the line is never begun', async () => {
    const { failures, step } = early()
    const shop = await batchShop({ batch: 2, receive: { concurrency: 2 }, incoming: [step] }, stuck)
    expect(await shop.placeAll([1, 2, 3])).toEqual(acks(3))
    await vi.waitFor(() => expect(shop.units()).toEqual([[1]]))
    await expect(shop.app.stop({ graceMs: 10 })).rejects.toEqual(stopTimeout)
    expect(failures).toHaveLength(3)
    expect(shop.units()).toEqual([[1]])
  })

  test('P11: the signal of a handler without a database aborts', async () => {
    const { step } = early()
    const transport = fakeTransport()
    const app = new Mersal({ name: 'shop', transport, logger: false, incoming: [step] })
    const aborted = vi.fn<(reason: unknown) => void>()
    app.handle(Place, (_, { signal }) => {
      signal.addEventListener('abort', () => aborted(signal.reason))
      return stuck()
    })
    await app.start()
    await transport.deliver('shop', { type: 'orders.place', body: json({ id: 1 }) })
    await expect(app.stop({ graceMs: 10 })).rejects.toEqual(stopTimeout)
    expect(aborted).toHaveBeenCalledExactlyOnceWith(stopTimeout)
  })

  test('P11: nothing goes on asking an inbox that cannot be reached', async () => {
    const { failures, step } = early()
    const clock = manualClock()
    const forget = vi.fn<() => Promise<number>>(() => Promise.reject(new Error('no answer')))
    const endings = { recorder: () => ({ transaction: 'one', suspect: true }), forget }
    const change = (store: Store<MemoryTransaction>): Store<MemoryTransaction> => ({
      ...store,
      tracker: { ...store.tracker, endings },
    })
    const shop = await batchShop({ batch: 1, change, clock, incoming: [step] }, () => {
      throw new Error('no stock')
    })
    expect(await shop.place(1)).toEqual({ kind: 'ack' })
    await vi.waitFor(() => expect(forget).toHaveBeenCalledTimes(1))
    const stopped = expect(shop.app.stop({ graceMs: 10 })).rejects.toEqual(stopTimeout)
    await clock.advance(10_000)
    await stopped
    const asked = forget.mock.calls.length
    await clock.advance(60_000)
    expect(forget).toHaveBeenCalledTimes(asked)
    expect(failures).toHaveLength(1)
  })
})
