import { describe, expect, test, vi } from 'vitest'
import {
  type Disposition,
  Mersal,
  MersalError,
  type Store,
  command,
  reject,
} from '../../../../../src/index.ts'
import { type MemoryTransaction, memoryStore } from '../../../../../src/memory.ts'
import { manualClock } from '../../../../../src/testing/index.ts'
import { Placed, acks, around, batchShop, numbers } from './batch-shop.ts'
import { fakeTransport, json } from '../../../support/fake-transport.ts'

describe('a failure costs nobody else anything', () => {
  test('the message whose handler fails is handled alone, and the others together without it', async () => {
    const failure = new Error('no stock')
    const shop = await batchShop({}, (id, { attempt }) => {
      if (id === 3) throw attempt === 1 ? failure : new Error('a later try')
    })
    const outcomes = await shop.placeAll(numbers(5))
    expect(outcomes).toEqual([
      ...acks(2),
      { kind: 'retry', delayMs: 1000, error: failure },
      ...acks(2),
    ])
    expect(shop.units()).toEqual([[1, 2, 3], [3], [1, 2, 4, 5]])
    expect((await shop.orders()).toSorted()).toEqual([1, 2, 4, 5].map((id) => `order ${id}`))
    await shop.app.stop()
  })

  test('after a second failure among them each is handled alone, beside the others', async () => {
    const shop = await batchShop({}, (id) => {
      if (id === 2 || id === 4) throw new Error('no stock')
    })
    const outcomes = await shop.placeAll(numbers(5))
    expect(outcomes.map(({ kind }) => kind)).toEqual(['ack', 'retry', 'ack', 'retry', 'ack'])
    expect(shop.units().map((ids) => ids.length)).toEqual([2, 1, 3, 1, 1, 1, 1])
    await shop.app.stop()
  })

  test('a handler that changes its body gets it anew, whole', async () => {
    const transport = fakeTransport()
    const Lines = command<{ lines: string[] }>('orders.lines')
    const seen: string[][] = []
    const app = new Mersal<MemoryTransaction>({
      name: 'lines',
      store: memoryStore(),
      transport,
      logger: false,
    })
    let broken = true
    app.handle(
      Lines,
      ({ lines }) => {
        seen.push(lines.splice(0))
        if (seen.length !== 2 || !broken) return
        broken = false
        throw new Error('the second one fails once')
      },
      { batch: 3 },
    )
    await app.start()
    const send = (id: string) =>
      transport.deliver('lines', { id, type: Lines.name, body: json({ lines: [id, 'x'] }) })
    expect(await Promise.all(['a', 'b', 'c'].map(send))).toEqual(acks(3))
    expect(seen.every((lines) => lines.length === 2)).toBe(true)
    await app.stop()
  })

  test('a step that makes something of the undone transaction charges nobody for it', async () => {
    const swallow = async (_: unknown, next: () => Promise<Disposition>): Promise<Disposition> => {
      try {
        return await next()
      } catch (error) {
        return { kind: 'retry', delayMs: 5, error: error as Error }
      }
    }
    const shop = await batchShop({ incoming: [{ name: 'swallow', run: swallow }] }, (id) => {
      if (id === 2) throw new Error('no stock')
    })
    expect((await shop.placeAll([1, 2, 3])).map(({ kind }) => kind)).toEqual([
      'ack',
      'retry',
      'ack',
    ])
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
    expect(await shop.placeAll([1, 2])).toEqual([
      expect.objectContaining({ kind: 'reject', reason: 'rejected' }),
      { kind: 'ack' },
    ])
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

  test('if only the commit fails, nobody knows whose fault it was, and each is handled alone', async () => {
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
    spoiled = () =>
      shop.units().some((ids) => ids.includes(4) && (ids.length === 1 || shop.units().length === 1))
    const outcomes = await shop.placeAll([4, 5])
    expect(outcomes[0]).toEqual({ kind: 'retry', delayMs: 1000, error: failure })
    expect(shop.units()).toEqual([[4, 5], [4], [5]])
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
    expect(await shop.placeAll(numbers(8))).toEqual(
      numbers(8).map(() => ({ kind: 'retry', delayMs: 1000, error: away })),
    )
    expect(begun).toBe(1)
    await shop.app.stop()
  })

  test('a message that comes again is handled alone: it may be the one that ended the process', async () => {
    const shop = await batchShop({}, () => {})
    const all = [
      shop.place(1),
      shop.place(2, { attempt: 2 }),
      shop.place(3),
      shop.place(4, { attempt: 3 }),
    ]
    expect(await Promise.all(all)).toEqual(acks(4))
    expect(shop.units().toSorted((a, b) => Number(a[0]) - Number(b[0]))).toEqual([[1, 3], [2], [4]])
    await shop.app.stop()
  })

  test('when the transport loses one of them, the others go on, and the inbox knows of it', async () => {
    const lost = new AbortController()
    const shop = await batchShop(
      {
        change: around((unit) => {
          lost.abort(new Error('lost'))
          return unit()
        }),
      },
      (_, { signal }) => expect(signal.aborted).toBe(false),
    )
    const all = [shop.place(1, { signal: lost.signal }), shop.place(2), shop.place(3)]
    expect(await Promise.all(all)).toEqual(acks(3))
    expect(shop.units()).toEqual([[1, 2, 3]])
    expect(await shop.place(1, { attempt: 2 })).toEqual({ kind: 'ack' })
    expect(shop.units()).toEqual([[1, 2, 3]])
    await shop.app.stop()
  })

  test('when it loses all of them, they are rolled back and released', async () => {
    const lost = [new AbortController(), new AbortController()]
    const shop = await batchShop({}, async () => {
      for (const each of lost) each.abort(new Error('lost'))
      await new Promise(() => {})
    })
    const all = lost.map(({ signal }, index) => shop.place(index + 1, { signal }))
    expect(await Promise.all(all)).toEqual([{ kind: 'release' }, { kind: 'release' }])
    expect(await shop.orders()).toEqual([])
  })

  test('one that is lost while it waits for its turn is released at once', async () => {
    const lost = new AbortController()
    const open = Promise.withResolvers<void>()
    const shop = await batchShop({ batch: 2, receive: { concurrency: 2 } }, () => open.promise)
    const first = shop.placeAll([1, 2])
    await vi.waitFor(() => expect(shop.units()).toHaveLength(1))
    const third = shop.place(3, { signal: lost.signal })
    await new Promise((resolve) => setTimeout(resolve, 5))
    lost.abort(new Error('lost'))
    expect(await third).toEqual({ kind: 'release' })
    open.resolve()
    expect(await first).toEqual(acks(2))
    await shop.app.stop()
  })

  test('a logger that throws leaves nobody waiting', async () => {
    const broken = (): never => {
      throw new Error('the disk of the log is full')
    }
    const logger = { debug: broken, info: () => {}, warn: () => {}, error: () => {} }
    const shop = await batchShop({ logger }, (id) => {
      if (id === 2) throw new Error('no stock')
    })
    expect((await shop.placeAll([1, 2, 3])).map(({ kind }) => kind)).toEqual([
      'ack',
      'retry',
      'ack',
    ])
    expect(await shop.place(4)).toEqual({ kind: 'ack' })
    await shop.app.stop()
  })

  test('what a handler sends after its end is refused in each way, although its transaction goes on', async () => {
    const refused: unknown[] = []
    const gone = Promise.withResolvers<void>()
    const shop = await batchShop({}, async (id, { tx, publish }) => {
      if (id === 2) return await gone.promise
      void vi
        .waitFor(() => expect(shop.units()[0]).toEqual([1, 2]))
        .then(async () => {
          for (const late of [
            publish,
            shop.app.publish.bind(shop.app),
            shop.app.within(tx).publish,
          ]) {
            refused.push(await late(Placed, { id }).catch((error: unknown) => error))
          }
          gone.resolve()
        })
    })
    expect(await shop.placeAll([1, 2])).toEqual(acks(2))
    const ended: unknown = expect.objectContaining({ code: 'MERSAL_UNIT_ENDED' })
    expect(refused).toEqual([ended, ended, ended])
    expect(await shop.rows()).toEqual([])
    await shop.app.stop()
  })

  test('those that take too long together are handled alone, with a warning that names the remedy', async () => {
    const clock = manualClock()
    const warnings: unknown[] = []
    const logger = {
      debug: () => {},
      info: () => {},
      error: () => {},
      warn: (fields: object) => void warnings.push(fields),
    }
    let atOnce = 0
    const shop = await batchShop(
      { clock, logger, receive: { handlerTimeoutMs: 1000 } },
      async (id) => {
        if (id !== 3) return await clock.sleep(400)
        expect(++atOnce).toBe(1)
        await clock.sleep(400)
        atOnce--
      },
    )
    const all = shop.placeAll([1, 2, 3])
    await vi.waitFor(() => expect(shop.units()).toHaveLength(1))
    // 1,000 ms until they are given up, 200 more until the third has noticed, 400 for it alone.
    for (let elapsed = 0; elapsed < 1600; elapsed += 100) await clock.advance(100)
    expect(await all).toEqual(acks(3))
    expect(shop.units()).toEqual([[1, 2, 3], [1], [2], [3]])
    expect(warnings).toEqual([
      expect.objectContaining({
        messages: 3,
        error: expect.stringContaining('lower batch') as string,
      }),
    ])
    await shop.app.stop()
  })

  test('one that takes all the time by itself has failed as it would have alone, and is not called again at once', async () => {
    const clock = manualClock()
    const late = Promise.withResolvers<unknown>()
    const goOn = Promise.withResolvers<void>()
    let calls = 0
    const shop = await batchShop(
      { clock, receive: { handlerTimeoutMs: 1000, immediateRetries: 3 } },
      async (id, { publish }) => {
        if (id !== 1) return
        calls++
        await goOn.promise
        await publish(Placed, { id }).catch(late.resolve)
      },
    )
    const all = shop.placeAll([1, 2])
    await vi.waitFor(() => expect(calls).toBe(1))
    await clock.advance(1000)
    const [first, second] = await all
    expect(first).toMatchObject({ kind: 'retry', error: { code: 'MERSAL_HANDLER_TIMEOUT' } })
    expect(second).toEqual({ kind: 'ack' })
    goOn.resolve()
    expect(await late.promise).toMatchObject({ code: 'MERSAL_UNIT_ENDED' })
    expect(calls).toBe(1)
    expect(await shop.rows()).toEqual([])
    await shop.app.stop()
  })

  test('time that the inbox has taken is charged to nobody', async () => {
    const clock = manualClock()
    let slow = true
    const answers = ['first' as const, 'first' as const]
    const many = {
      track: async () => {
        await clock.sleep(900)
        return answers
      },
    }
    const change = (store: Store<MemoryTransaction>): Store<MemoryTransaction> => ({
      ...store,
      tracker: { ...store.tracker, many },
    })
    const shop = await batchShop(
      { clock, change, receive: { handlerTimeoutMs: 1000, maxDeliveries: 1 } },
      async () => {
        if (slow) await clock.sleep(300)
      },
    )
    const all = shop.placeAll([1, 2])
    for (let elapsed = 0; elapsed < 1200; elapsed += 100) await clock.advance(100)
    slow = false
    await clock.advance(400)
    expect(await all).toEqual(acks(2))
    expect(shop.units()[0]).toEqual([1])
    await shop.app.stop()
  })

  test('time that the record of the next one takes is not charged to the one before, whose handler has ended', async () => {
    const clock = manualClock()
    const change = (store: Store<MemoryTransaction>): Store<MemoryTransaction> => ({
      ...store,
      tracker: {
        ...store.tracker,
        track: async (tx, key) => {
          if (key.messageId === 'm2' && clock.monotonic() < 1000) await clock.sleep(5000)
          return store.tracker.track(tx, key)
        },
      },
    })
    const shop = await batchShop(
      { clock, change, receive: { handlerTimeoutMs: 1000, maxDeliveries: 1 } },
      () => {},
    )
    const all = shop.placeAll([1, 2])
    await vi.waitFor(() => expect(shop.units()).toHaveLength(1))
    await clock.advance(1000)
    expect(await all).toEqual(acks(2))
    await shop.app.stop()
  })

  test('while the inbox cannot be asked about a transaction that was undone, nobody behind it is judged', async () => {
    let away = true
    const forgotten: string[][] = []
    const change = (store: Store<MemoryTransaction>): Store<MemoryTransaction> => ({
      ...store,
      tracker: {
        ...store.tracker,
        many: {
          track: async (tx, { consumer, messageIds }) => {
            const answers: ('first' | 'duplicate')[] = []
            for (const messageId of messageIds)
              answers.push(await store.tracker.track(tx, { consumer, messageId }))
            return answers
          },
        },
        endings: {
          recorder: () => ({ transaction: '7', suspect: true }),
          forget: (_, { messageIds }) => {
            if (away) return Promise.reject(new Error('no connection'))
            forgotten.push([...messageIds])
            return Promise.resolve(0)
          },
        },
      },
    })
    const shop = await batchShop({ change }, (id) => {
      if (id === 3) throw new Error('no stock')
    })
    await shop.place(4)
    const all = shop.placeAll([2, 3, 4, 5])
    await new Promise((resolve) => setTimeout(resolve, 20))
    away = false
    expect((await all).map(({ kind }) => kind)).toEqual(['ack', 'retry', 'ack', 'ack'])
    // Not of the fourth, which had been handled before.
    expect(forgotten[0]).toEqual(['m2', 'm3', 'm5'])
    await shop.app.stop()
  })

  test('P11: a stop waits for what is still in the line, although a step around it has settled early', async () => {
    const open = Promise.withResolvers<void>()
    const early = async (_: unknown, next: () => Promise<Disposition>): Promise<Disposition> => {
      void next()
      return await Promise.resolve({ kind: 'ack' })
    }
    const shop = await batchShop(
      { batch: 2, receive: { concurrency: 2 }, incoming: [{ name: 'early', run: early }] },
      () => open.promise,
    )
    expect(await shop.placeAll([1, 2, 3])).toEqual(acks(3))
    await vi.waitFor(() => expect(shop.units()).toEqual([[1]]))
    const stopping = shop.app.stop()
    open.resolve()
    await stopping
    expect(shop.units()).toEqual([[1, 2], [3]])
  })

  test('a stop by force rolls everything back, and every message goes back to its queue', async () => {
    const shop = await batchShop(
      { receive: { concurrency: 2 }, batch: 2 },
      () => new Promise(() => {}),
    )
    const all = shop.placeAll([1, 2, 3])
    await vi.waitFor(() => expect(shop.units()).toHaveLength(1))
    await expect(shop.app.stop({ graceMs: 10 })).rejects.toMatchObject({
      code: 'MERSAL_STOP_TIMEOUT',
    })
    expect(await all).toEqual([{ kind: 'release' }, { kind: 'release' }, { kind: 'release' }])
  })
})
