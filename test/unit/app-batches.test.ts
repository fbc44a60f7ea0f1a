import { AsyncLocalStorage } from 'node:async_hooks'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { describe, expect, test } from 'vitest'
import {
  type Disposition,
  type HandlerContext,
  Mersal,
  MersalError,
  type MersalOptions,
  type Store,
  command,
  event,
  reject,
} from '../../src/index.ts'
import { type MemoryTransaction, memoryStore } from '../../src/memory.ts'
import { manualClock } from '../../src/testing/index.ts'
import { fakeTransport, json } from './support/fake-transport.ts'

const Place = command<{ id: number }>('orders.place')
const Placed = event<{ id: number }>('orders.placed')

type Context = HandlerContext<MemoryTransaction>
type Options = Partial<MersalOptions<MemoryTransaction>> & {
  batch?: number
  change?: (store: Store<MemoryTransaction>) => Store<MemoryTransaction>
}

/** An app whose handler notes what it is called with, in a list per transaction, and then does `work`. */
async function setUp({ change = (store) => store, batch = 10, ...options }: Options, work: (id: number, context: Context) => unknown) {
  const store = change(memoryStore())
  const transport = fakeTransport()
  const app = new Mersal<MemoryTransaction>({
    name: 'shop',
    store,
    transport,
    outbox: { runRelay: false },
    logger: false,
    random: () => 1,
    ...options,
    receive: { immediateRetries: 0, ...options.receive },
  })
  const units = new Map<MemoryTransaction, number[]>()
  app.handle(
    Place,
    async ({ id }, context) => {
      units.set(context.tx, [...(units.get(context.tx) ?? []), id])
      context.tx.set(`order ${id}`, true)
      await work(id, context)
    },
    { batch },
  )
  await app.start()
  const place = (id: number, more: { messageId?: string; attempt?: number; signal?: AbortSignal } = {}): Promise<Disposition> => {
    const { messageId = `m${id}`, ...delivery } = more
    return transport.deliver('shop', { id: messageId, type: 'orders.place', body: json({ id }) }, delivery)
  }
  return {
    app,
    store,
    place,
    placeAll: (ids: readonly number[]) => Promise.all(ids.map((id) => place(id))),
    units: () => [...units.values()],
    orders: () => store.unitOfWork(async (tx) => tx.entries().map(([key]) => key)),
    rows: async () => (await store.outbox.claim({ limit: 100, claimMs: 60_000, token: 'test' })).map((row) => row.message),
  }
}

const acks = (count: number): Disposition[] => Array.from({ length: count }, () => ({ kind: 'ack' }))
const numbers = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1)

/** A store whose units of work go through `around`, which may fail instead of, or after, the unit itself. */
function around(wrap: (unit: () => Promise<unknown>) => Promise<unknown>) {
  return (store: Store<MemoryTransaction>): Store<MemoryTransaction> => ({
    ...store,
    unitOfWork: ((work, options) => wrap(() => store.unitOfWork(work, options))) as Store<MemoryTransaction>['unitOfWork'],
  })
}

describe('messages that are in hand at one time share a transaction', () => {
  test('as many as the batch, in the order in which they came, each acknowledged after the commit', async () => {
    const shop = await setUp({ batch: 3 }, () => {})
    expect(await shop.placeAll(numbers(7))).toEqual(acks(7))
    expect(shop.units().toSorted((a, b) => Number(a[0]) - Number(b[0]))).toEqual([[1, 2, 3], [4, 5, 6], [7]])
    expect(await shop.orders()).toHaveLength(7)
    await shop.app.stop()
  })

  test('one that comes alone waits for no other', async () => {
    const shop = await setUp({ clock: manualClock() }, () => {})
    expect(await shop.place(1)).toEqual({ kind: 'ack' })
    expect(shop.units()).toEqual([[1]])
    await shop.app.stop()
  })

  test('at one time there are as many transactions as batches fit into the concurrency, and the rest waits', async () => {
    const open = Promise.withResolvers<void>()
    const begun: number[] = []
    const shop = await setUp({ batch: 2, receive: { concurrency: 5 } }, (id) => {
      begun.push(id)
      return open.promise
    })
    const all = shop.placeAll(numbers(5))
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(begun).toEqual([1, 3])
    open.resolve()
    expect(await all).toEqual(acks(5))
    expect(shop.units()).toEqual([[1, 2], [3, 4], [5]])
    await shop.app.stop()
  })

  test('what each of them sends has its own message as the cause, and leaves in the order of the handlers', async () => {
    const shop = await setUp({}, async (id, { publish }) => {
      await publish(Placed, { id })
      await shop.app.publish(Placed, { id: id * 10 })
      await shop.app.transaction((_, sender) => sender.publish(Placed, { id: id * 100 }))
    })
    expect(await shop.placeAll([1, 2])).toEqual(acks(2))
    const sent = (await shop.rows()).map(({ headers, body }) => [headers['causation-id'], new TextDecoder().decode(body)])
    const from = (cause: string, id: number) => [id, id * 10, id * 100].map((value) => [cause, JSON.stringify({ id: value })])
    expect(sent).toEqual([...from('m1', 1), ...from('m2', 2)])
    await shop.app.stop()
  })

  test('each handler runs in the asynchronous context of its delivery, so that traces stay apart', async () => {
    const trace = new AsyncLocalStorage<string>()
    const seen: unknown[] = []
    const run = (context: { delivery: { message: { id: string } } }, next: () => Promise<Disposition>) =>
      trace.run(`trace of ${context.delivery.message.id}`, next)
    const shop = await setUp({ incoming: [{ name: 'trace', run }] }, () => void seen.push(trace.getStore()))
    expect(await shop.placeAll([1, 2])).toEqual(acks(2))
    expect(shop.units()).toEqual([[1, 2]])
    expect(seen).toEqual(['trace of m1', 'trace of m2'])
    await shop.app.stop()
  })

  test('what they do is told once for each message, and once for the transaction', async () => {
    const told: unknown[] = []
    const hear = (message: unknown): void => void told.push(message)
    for (const name of ['mersal:batch', 'mersal:handle']) subscribe(name, hear)
    const shop = await setUp({}, () => {})
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
    expect(told).toEqual([{ app: 'shop', type: 'orders.place', messages: 2, outcome: 'handled' }, handled('m1'), handled('m2')])
    await shop.app.stop()
  })
})

describe('P4: effectively once, in a shared transaction', () => {
  test('what was handled before is skipped, and the rest is handled', async () => {
    const shop = await setUp({}, () => {})
    await shop.place(2)
    expect(await shop.placeAll([1, 2, 3])).toEqual(acks(3))
    expect(shop.units()).toEqual([[2], [1, 3]])
    await shop.app.stop()
  })

  test("with onDuplicate 'flag' each handler is told about its own message", async () => {
    const seen: unknown[] = []
    const shop = await setUp({ idempotency: { onDuplicate: 'flag' } }, (id, { duplicate }) => void seen.push([id, duplicate]))
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
    const shop = await setUp({ receive: { concurrency: 10 } }, () => {})
    const all = [shop.place(1), shop.place(2), shop.place(3, { messageId: 'm1' }), shop.place(4)]
    expect(await Promise.all(all)).toEqual(acks(4))
    expect(shop.units()).toEqual([[1, 2], [4]])
    await shop.app.stop()
  })

  test('after an unknown commit nothing is handled twice', async () => {
    let lost = true
    const shop = await setUp(
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

  test('a tracker that cannot record several at once is asked one by one', async () => {
    const asked: string[] = []
    const shop = await setUp(
      {
        change: (store) => ({
          ...store,
          tracker: {
            prune: store.tracker.prune,
            track: (tx, key) => {
              asked.push(key.messageId)
              return store.tracker.track(tx, key)
            },
          },
        }),
      },
      () => {},
    )
    await shop.placeAll([2, 1])
    expect(asked).toEqual(['m1', 'm2'])
    expect(shop.units()).toEqual([[2, 1]])
    await shop.app.stop()
  })

  test('a tracker that gives too few answers is never taken to know the rest', async () => {
    const change = (store: Store<MemoryTransaction>): Store<MemoryTransaction> => ({
      ...store,
      tracker: { ...store.tracker, trackMany: () => Promise.resolve(['duplicate' as const]) },
    })
    const shop = await setUp({ change }, () => {})
    expect(await shop.placeAll([1, 2])).toEqual(acks(2))
    expect(shop.units()).toEqual([[1], [2]])
    await shop.app.stop()
  })
})

describe('a failure costs nobody else anything', () => {
  test('the message whose handler fails is handled apart, and the others without it', async () => {
    const failure = new Error('no stock')
    const shop = await setUp({}, (id, { attempt }) => {
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
    const shop = await setUp({ receive: { immediateRetries: 1 } }, (id, { attempt }) => {
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
    const shop = await setUp({}, (id) => {
      if (id === 1) reject('unknown customer')
    })
    expect(await shop.placeAll([1, 2])).toEqual([expect.objectContaining({ kind: 'reject', reason: 'rejected' }), { kind: 'ack' }])
    expect(await shop.orders()).toEqual(['order 2'])
    await shop.app.stop()
  })

  test('a send that is not awaited fails its own message only', async () => {
    const shop = await setUp({}, (id, { publish }) => {
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
    const shop = await setUp({ change }, () => {})
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
    const shop = await setUp({ change: refuse }, () => {})
    expect(await shop.placeAll(numbers(8))).toEqual(numbers(8).map(() => ({ kind: 'retry', delayMs: 1000, error: away })))
    expect(begun).toBe(1)
    await shop.app.stop()
  })

  test('a message that comes again is handled alone: it may be the one that ended the process', async () => {
    const shop = await setUp({}, () => {})
    const all = [shop.place(1), shop.place(2, { attempt: 2 }), shop.place(3), shop.place(4, { attempt: 3 })]
    expect(await Promise.all(all)).toEqual(acks(4))
    expect(shop.units().toSorted((a, b) => Number(a[0]) - Number(b[0]))).toEqual([[1, 3], [2], [4]])
    await shop.app.stop()
  })

  test('a delivery that the transport has lost is released, and the others are handled', async () => {
    const lost = new AbortController()
    const shop = await setUp({}, (id) => {
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
    const shop = await setUp({ clock, logger, receive: { handlerTimeoutMs: 1000 } }, () => clock.sleep(400))
    const all = shop.placeAll([1, 2, 3])
    let ended = false
    void all.then(() => (ended = true))
    while (!ended) {
      await new Promise((resolve) => setImmediate(resolve))
      await clock.advance(100)
    }
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
    const shop = await setUp({ clock, receive: { handlerTimeoutMs: 1000 } }, async (id, { publish }) => {
      if (id !== 2 || ++calls > 1) return
      await goOn.promise
      await publish(Placed, { id }).catch(late.resolve)
    })
    const all = shop.placeAll([1, 2])
    while (calls === 0) await new Promise((resolve) => setImmediate(resolve))
    await clock.advance(1000)
    expect(await all).toEqual(acks(2))
    goOn.resolve()
    expect(await late.promise).toMatchObject({ code: 'MERSAL_UNIT_ENDED' })
    expect(await shop.rows()).toEqual([])
    await shop.app.stop()
  })

  test('a stop by force rolls everything back, and every message goes back to its queue', async () => {
    const shop = await setUp({ receive: { concurrency: 2 }, batch: 2 }, () => new Promise(() => {}))
    const all = shop.placeAll([1, 2, 3])
    while (shop.units().length === 0) await new Promise((resolve) => setImmediate(resolve))
    await expect(shop.app.stop({ graceMs: 10 })).rejects.toMatchObject({ code: 'MERSAL_STOP_TIMEOUT' })
    expect(await all).toEqual([{ kind: 'release' }, { kind: 'release' }, { kind: 'release' }])
  })
})

describe('the option is checked', () => {
  const app = (options: Partial<MersalOptions<MemoryTransaction>> = {}) =>
    new Mersal<MemoryTransaction>({ name: 'shop', store: memoryStore(), transport: fakeTransport(), logger: false, ...options })
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
    expect(() => loose.handle(Place, () => {}, { batch: 2 })).toThrow(/give the app a store/)
    loose.handle(Place, () => {}, { batch: 1 })
  })
})
