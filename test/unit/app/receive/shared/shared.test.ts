import { AsyncLocalStorage } from 'node:async_hooks'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { describe, expect, test, vi } from 'vitest'
import {
  type Disposition,
  Mersal,
  MersalError,
  type MersalOptions,
  type Store,
} from '../../../../../src/index.ts'
import { type MemoryTransaction, memoryStore } from '../../../../../src/memory.ts'
import { manualClock } from '../../../../../src/testing/index.ts'
import { Place, Placed, acks, around, batchShop, numbers } from './batch-shop.ts'
import { fakeTransport } from '../../../support/fake-transport.ts'

describe('messages that are in hand at one time share a transaction', () => {
  test('as many as the batch, in the order in which they came, each acknowledged after the commit', async () => {
    const shop = await batchShop({ batch: 3 }, () => {})
    expect(await shop.placeAll(numbers(7))).toEqual(acks(7))
    expect(shop.units().toSorted((a, b) => Number(a[0]) - Number(b[0]))).toEqual([
      [1, 2, 3],
      [4, 5, 6],
      [7],
    ])
    expect(await shop.orders()).toHaveLength(7)
    await shop.app.stop()
  })

  test('one that comes alone waits for no other', async () => {
    const shop = await batchShop({ clock: manualClock() }, () => {})
    expect(await shop.place(1)).toEqual({ kind: 'ack' })
    expect(shop.units()).toEqual([[1]])
    await shop.app.stop()
  })

  test('at one time there are as many transactions as batches fit into the concurrency, and the rest waits', async () => {
    const open = Promise.withResolvers<void>()
    const begun: number[] = []
    const shop = await batchShop({ batch: 2, receive: { concurrency: 5 } }, (id) => {
      begun.push(id)
      return open.promise
    })
    const all = shop.placeAll(numbers(5))
    await vi.waitFor(() => expect(begun).toEqual([1, 3]))
    // A transaction begins a turn after it may.
    await new Promise((resolve) => setImmediate(resolve))
    await new Promise((resolve) => setImmediate(resolve))
    expect(begun).toEqual([1, 3])
    open.resolve()
    expect(await all).toEqual(acks(5))
    expect(shop.units()).toEqual([[1, 2], [3, 4], [5]])
    await shop.app.stop()
  })

  test('P1: one takes back what an earlier one sent, and a savepoint that is rolled back undoes that', async () => {
    const ids = [crypto.randomUUID(), crypto.randomUUID()] as const
    const answers: string[] = []
    const shop = await batchShop({}, async (id, { publish, cancel, savepoint }) => {
      const at = { delayMs: 3_600_000 }
      if (id === 1)
        for (const one of ids) await publish(Placed, { id: ids.indexOf(one) }, { ...at, id: one })
      if (id !== 2) return
      answers.push(await cancel(ids[0]))
      const undone = savepoint(async () => {
        answers.push(await cancel(ids[1]))
        throw new Error('no')
      })
      await undone.catch(() => {})
    })
    expect(await shop.placeAll([1, 2, 3])).toEqual(acks(3))
    expect(answers).toEqual(['cancelled', 'cancelled'])
    const { outbox } = shop.store
    expect(await outbox.waiting?.upcoming({ limit: 10 })).toHaveLength(1)
    await shop.store.unitOfWork(async (tx) => {
      expect(await outbox.waiting?.cancel?.(tx, ids[0])).toBe('unknown')
      expect(await outbox.waiting?.cancel?.(tx, ids[1])).toBe('cancelled')
    })
    await shop.app.stop()
  })

  test('what each of them sends has its own message as the cause, and leaves in the order of the handlers', async () => {
    const shop = await batchShop({}, async (id, context) => {
      await context.publish(Placed, { id })
      await shop.app.publish(Placed, { id: id * 10 })
      await shop.app.transaction((_, sender) => sender.publish(Placed, { id: id * 100 }), {
        join: context,
      })
    })
    expect(await shop.placeAll([1, 2])).toEqual(acks(2))
    const sent = (await shop.rows()).map(({ headers, body }) => [
      headers['causation-id'],
      new TextDecoder().decode(body),
    ])
    const from = (cause: string, id: number) =>
      [id, id * 10, id * 100].map((value) => [cause, JSON.stringify({ id: value })])
    expect(sent).toEqual([...from('m1', 1), ...from('m2', 2)])
    await shop.app.stop()
  })

  test('each handler runs in the asynchronous context of its delivery, so that traces stay apart', async () => {
    const trace = new AsyncLocalStorage<string>()
    const seen: unknown[] = []
    const run = (
      context: { delivery: { message: { id: string } } },
      next: () => Promise<Disposition>,
    ) => trace.run(`trace of ${context.delivery.message.id}`, next)
    const shop = await batchShop(
      { incoming: [{ name: 'trace', run }] },
      () => void seen.push(trace.getStore()),
    )
    expect(await shop.placeAll([1, 2])).toEqual(acks(2))
    expect(shop.units()).toEqual([[1, 2]])
    expect(seen).toEqual(['trace of m1', 'trace of m2'])
    await shop.app.stop()
  })

  test('what they do is told once for each message, and once for the transaction', async () => {
    const told: unknown[] = []
    const hear = (message: unknown): void => void told.push(message)
    for (const name of ['mersal:batch', 'mersal:handle']) subscribe(name, hear)
    const shop = await batchShop({}, () => {})
    await shop.placeAll([1, 2])
    for (const name of ['mersal:batch', 'mersal:handle']) unsubscribe(name, hear)
    const handled = (id: string) => ({
      app: 'shop',
      id,
      type: 'orders.place',
      attempt: 1,
      outcome: 'handled',
      duration: expect.any(Number) as number,
    })
    expect(told).toEqual([
      { app: 'shop', type: 'orders.place', messages: 2, outcome: 'handled' },
      handled('m1'),
      handled('m2'),
    ])
    await shop.app.stop()
  })
})

describe('P4: effectively once, in a shared transaction', () => {
  test('what was handled before is skipped, and the rest is handled', async () => {
    const shop = await batchShop({}, () => {})
    await shop.place(2)
    expect(await shop.placeAll([1, 2, 3])).toEqual(acks(3))
    expect(shop.units()).toEqual([[2], [1, 3]])
    await shop.app.stop()
  })

  test("with onDuplicate 'flag' each handler is told about its own message", async () => {
    const seen: unknown[] = []
    const shop = await batchShop(
      { idempotency: { onDuplicate: 'flag' } },
      (id, { duplicate }) => void seen.push([id, duplicate]),
    )
    await shop.place(2)
    await shop.placeAll([1, 2])
    expect(seen).toEqual([
      [2, false],
      [1, false],
      [2, true],
    ])
    await shop.app.stop()
  })

  test('two copies of one message never share a transaction, and the second one is a duplicate', async () => {
    const shop = await batchShop({ receive: { concurrency: 10 } }, () => {})
    const all = [shop.place(1), shop.place(2), shop.place(3, { messageId: 'm1' }), shop.place(4)]
    expect(await Promise.all(all)).toEqual(acks(4))
    expect(shop.units()).toEqual([[1, 2], [4]])
    await shop.app.stop()
  })

  test('after an unknown commit nothing is handled twice', async () => {
    let lost = true
    const shop = await batchShop(
      {
        change: around(async (unit) => {
          const result = await unit()
          if (!lost) return result
          lost = false
          throw new MersalError('MERSAL_COMMIT_UNKNOWN', 'the answer was lost')
        }),
      },
      async (id, { publish }) => void (await publish(Placed, { id })),
    )
    expect(await shop.placeAll([1, 2, 3])).toEqual(acks(3))
    expect(shop.units()).toEqual([[1, 2, 3]])
    expect(await shop.rows()).toHaveLength(3)
    await shop.app.stop()
  })

  test('a tracker that cannot record several at once is asked one by one, each before its handler', async () => {
    const told: string[] = []
    const change = (store: Store<MemoryTransaction>): Store<MemoryTransaction> => ({
      ...store,
      tracker: {
        prune: (options) => store.tracker.prune(options),
        track: (tx, key) => {
          told.push(key.messageId)
          return store.tracker.track(tx, key)
        },
      },
    })
    const shop = await batchShop({ change }, (id) => void told.push(`handler ${id}`))
    await shop.placeAll([2, 1])
    expect(told).toEqual(['m2', 'handler 2', 'm1', 'handler 1'])
    await shop.app.stop()
  })

  test('a tracker that gives too few answers is never taken to know the rest', async () => {
    const many = { track: () => Promise.resolve(['duplicate' as const]) }
    const change = (store: Store<MemoryTransaction>): Store<MemoryTransaction> => ({
      ...store,
      tracker: { ...store.tracker, many },
    })
    const shop = await batchShop({ change }, () => {})
    expect(await shop.placeAll([1, 2])).toEqual(acks(2))
    expect(shop.units()).toEqual([[1], [2]])
    await shop.app.stop()
  })
})

describe('the option is checked', () => {
  const app = (options: Partial<MersalOptions<MemoryTransaction>> = {}) =>
    new Mersal<MemoryTransaction>({
      name: 'shop',
      store: memoryStore(),
      transport: fakeTransport(),
      logger: false,
      ...options,
    })
  const cases: [string, unknown, RegExp, Partial<MersalOptions<MemoryTransaction>>?][] = [
    [
      'more than are in hand',
      { batch: 11 },
      /^handle\('orders\.place'\)\.batch: 11 is more than the 10 messages .* raise receive\.concurrency/,
    ],
    ['none', { batch: 0 }, /batch: expected a whole number from 1/],
    ['text', { batch: '5' }, /batch: expected a whole number/],
    ['an unknown name', { batches: 5 }, /did you mean 'batch'/],
    ['a number', 5, /expected an object with options/],
  ]
  for (const [what, options, message] of cases) {
    test(`${what} is refused`, () => {
      const refused = expect.objectContaining({
        code: 'MERSAL_INVALID_OPTIONS',
        message: expect.stringMatching(message) as string,
      }) as Error
      expect(() => app().handle(Place, () => {}, options as never)).toThrow(refused)
    })
  }

  test('without a database there is no transaction to share', () => {
    const loose = new Mersal({ name: 'tiny', transport: fakeTransport(), logger: false })
    expect(() => loose.handle(Place, () => {}, { batch: 2 })).toThrow(
      /messages share transactions of postgres/,
    )
    loose.handle(Place, () => {}, { batch: 1 })
  })
})
