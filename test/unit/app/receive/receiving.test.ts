import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { describe, expect, test, vi } from 'vitest'
import { z } from 'zod'
import {
  type Events,
  MersalError,
  command,
  event,
  reject,
  retryLater,
} from '../../../../src/index.ts'
import type { MemoryTransaction } from '../../../../src/memory.ts'
import { type GivingUp, linkAbort } from '../../../../src/lib/async/linked-abort.ts'
import { manualClock } from '../../../../src/testing/index.ts'
import { json } from '../../support/fake-transport.ts'
import { type ShopOptions, openShop } from '../../support/shop.ts'

const Place = command<{ id: number }>('orders.place')
const Placed = event<{ id: number }>('orders.placed')
const Checked = command('orders.check', z.object({ name: z.string() }))

function setUp(options: ShopOptions = {}) {
  const { app, store, transport, rows, data } = openShop(options)
  const place = (more: { id?: string; attempt?: number; signal?: AbortSignal } = {}) => {
    const { id, ...delivery } = more
    return transport.deliver(
      'shop',
      { type: 'orders.place', body: json({ id: 1 }), ...(id === undefined ? {} : { id }) },
      delivery,
    )
  }
  return { app, store, transport, rows, data, place }
}

describe('handling', () => {
  test('inbox row, business data and outgoing messages are one transaction; then the delivery is acknowledged', async () => {
    const { app, rows, data, place } = setUp()
    app.handle(Place, async ({ id }, { tx, publish }) => {
      tx.set(`order ${id}`, true)
      await publish(Placed, { id })
    })
    await app.start()
    expect(await place({ id: 'm' })).toEqual({ kind: 'ack' })
    expect(await data()).toEqual(['order 1'])
    expect(await rows()).toHaveLength(1)
    await app.stop()
  })

  test('a handler gets the message, the number of the try, and its own signal', async () => {
    const { app, place } = setUp({ receive: { immediateRetries: 2 } })
    const seen: unknown[] = []
    app.handle(Place, (body, { message, attempt, duplicate, signal }) => {
      seen.push([body, message.id, attempt, duplicate, signal.aborted])
      if (attempt < 5) throw new Error('not yet')
    })
    await app.start()
    expect(await place({ id: 'm', attempt: 1 })).toMatchObject({ kind: 'retry' })
    expect(await place({ id: 'm', attempt: 2 })).toEqual({ kind: 'ack' })
    expect(seen).toEqual([1, 2, 3, 4, 5].map((attempt) => [{ id: 1 }, 'm', attempt, false, false]))
    await app.stop()
  })

  test('a delivery that can be given up without a signal is handled without one, and given up all the same', async () => {
    const { app, transport, data } = setUp()
    const [kept, lost] = [linkAbort(), linkAbort()]
    const place = (givingUp: GivingUp) =>
      transport.deliver(
        'shop',
        { type: 'orders.place', body: json({ id: 1 }) },
        {
          givingUp,
          get signal(): AbortSignal {
            throw new Error('nobody needs a signal')
          },
        },
      )
    app.handle(Place, ({ id }, { tx }) => {
      tx.set(`order ${id}`, true)
    })
    await app.start()
    lost.abort(new Error('the channel is gone'))
    expect(await place(lost)).toEqual({ kind: 'release' })
    expect(await data()).toEqual([])
    expect(await place(kept)).toEqual({ kind: 'ack' })
    expect(await data()).toEqual(['order 1'])
    await app.stop()
  })

  test('a handler attempt has a transaction of its own, not the one that the delivery came out of', async () => {
    const { app, store, transport, place } = setUp()
    const handles: MemoryTransaction[] = []
    app.handle(Place, async (_, { tx, publish }) => {
      handles.push(tx)
      await publish(Placed, { id: 1 })
    })
    await app.start()
    const outer = app.transaction(async (tx) => {
      handles.push(tx)
      expect(await place()).toEqual({ kind: 'ack' })
      throw new Error('outer is rolled back')
    })
    await expect(outer).rejects.toThrow('outer is rolled back')
    expect(handles).toHaveLength(2)
    expect(handles[0]).not.toBe(handles[1])
    expect((await store.admin.stats()).pending).toBe(1)
    expect(transport.published).toEqual([])
    await app.stop()
  })

  test('the ambient publish works in a handler, and a send that is not awaited fails the attempt', async () => {
    const { app, place, rows } = setUp()
    app.handle(Place, async (_, { attempt }) => {
      if (attempt === 1) void app.publish(Placed, { id: 1 })
      else await app.publish(Placed, { id: 2 })
    })
    await app.start()
    expect(await place({ id: 'm' })).toMatchObject({
      kind: 'retry',
      error: { code: 'MERSAL_NOT_AWAITED' },
    })
    expect(await place({ id: 'm', attempt: 2 })).toEqual({ kind: 'ack' })
    expect((await rows()).map(({ body }) => new TextDecoder().decode(body))).toEqual(['{"id":2}'])
    await app.stop()
  })
})

describe('retries', () => {
  test('immediate retries run in fresh transactions before the message goes back', async () => {
    const { app, place, data } = setUp({ receive: { immediateRetries: 2 } })
    app.handle(Place, (_, { tx, attempt }) => {
      tx.set(`try ${attempt}`, true)
      if (attempt < 3) throw new Error('not yet')
    })
    await app.start()
    expect(await place()).toEqual({ kind: 'ack' })
    expect(await data()).toEqual(['try 3'])
    await app.stop()
  })

  test('delayed retries back off, and the last delivery ends as a dead letter with the cause', async () => {
    const { app, place } = setUp({
      receive: { maxDeliveries: 3, backoff: { firstMs: 100, longestMs: 150 } },
    })
    const failure = new Error('no stock')
    app.handle(Place, () => Promise.reject(failure))
    await app.start()
    expect(await place({ attempt: 1 })).toEqual({ kind: 'retry', delayMs: 100, error: failure })
    expect(await place({ attempt: 2 })).toEqual({ kind: 'retry', delayMs: 150, error: failure })
    const last = await place({ attempt: 3 })
    expect(last).toMatchObject({
      kind: 'reject',
      reason: 'handler-failed',
      error: { code: 'MERSAL_HANDLER_FAILED', cause: failure },
    })
    expect((last as { error: Error }).error.message).toContain('no stock')
    await app.stop()
  })

  test('a delivery above the limit is given up without calling the handler, which probably kills the process', async () => {
    const { app, place } = setUp({ receive: { maxDeliveries: 3 } })
    const handler = vi.fn<() => void>()
    app.handle(Place, handler)
    await app.start()
    expect(await place({ attempt: 4 })).toMatchObject({ kind: 'reject', reason: 'kills-handler' })
    expect(handler).not.toHaveBeenCalled()
    await app.stop()
  })

  test('retryLater asks for the message again after its own delay, without immediate retries and without being charged', async () => {
    const clock = manualClock()
    const { app, place } = setUp({ clock, receive: { immediateRetries: 3, maxDeliveries: 1 } })
    const tries: number[] = []
    app.handle(Place, (_, { attempt }) => {
      tries.push(attempt)
      retryLater(1234, new Error('not ready'))
    })
    await app.start()
    const wish = {
      kind: 'retry',
      delayMs: 1234,
      postponedSince: clock.now(),
      error: { code: 'MERSAL_RETRY_LATER' },
    }
    expect(await place()).toMatchObject(wish)
    expect(tries).toEqual([1])
    await app.stop()
  })

  test('reject makes a dead letter at once, and rolls back', async () => {
    const { app, place, data } = setUp({ receive: { immediateRetries: 3 } })
    app.handle(Place, (_, { tx }) => {
      tx.set('order', 1)
      throw reject('unknown customer')
    })
    await app.start()
    expect(await place()).toMatchObject({
      kind: 'reject',
      reason: 'rejected',
      error: { code: 'MERSAL_REJECTED' },
    })
    expect(await data()).toEqual([])
    await app.stop()
  })

  test('a delay that is no delay is a mistake of the handler', () => {
    for (const ms of [-1, Number.NaN, Number.POSITIVE_INFINITY, 1e308, Number.MAX_SAFE_INTEGER]) {
      expect(() => retryLater(ms)).toThrow(
        expect.objectContaining({ code: 'MERSAL_INVALID_OPTIONS' }),
      )
    }
  })

  test('what is thrown need not be an error', async () => {
    const { app, place } = setUp()
    // oxlint-disable-next-line typescript/prefer-promise-reject-errors -- the subject of the test
    app.handle(Place, () => Promise.reject('just text'))
    await app.start()
    expect(await place()).toMatchObject({ kind: 'retry', error: expect.any(Error) as Error })
    await app.stop()
  })
})

describe('messages that can never be handled are given up at once', () => {
  const cases = {
    'no id': [{ id: '', type: 'orders.place', body: json({}) }, 'malformed'],
    'no type': [{ body: json({}) }, 'malformed'],
    'a type without handler': [{ type: 'orders.lose', body: json({}) }, 'unknown-type'],
    'a type from the prototype': [{ type: 'constructor', body: json({}) }, 'unknown-type'],
    'bytes that are no JSON': [
      { type: 'orders.place', body: Uint8Array.of(0x7b, 0x00) },
      'undecodable',
    ],
    'bytes that are no UTF-8': [
      { type: 'orders.place', body: Uint8Array.of(0x22, 0xff, 0x22) },
      'undecodable',
    ],
    'an empty body': [{ type: 'orders.place', body: new Uint8Array() }, 'undecodable'],
    'a body that the schema refuses': [
      { type: 'orders.check', body: json({ name: 5 }) },
      'invalid',
    ],
  } as const
  for (const [what, [message, reason]] of Object.entries(cases)) {
    test(`${what}: ${reason}`, async () => {
      const { app, transport } = setUp({ receive: { immediateRetries: 5 } })
      const handler = vi.fn<() => void>()
      app.handle(Place, handler)
      app.handle(Checked, handler)
      await app.start()
      expect(await transport.deliver('shop', message)).toMatchObject({ kind: 'reject', reason })
      expect(handler).not.toHaveBeenCalled()
      await app.stop()
    })
  }

  test('a schema that breaks instead of answering is tried again', async () => {
    const { app, transport } = setUp()
    const broken = {
      '~standard': {
        version: 1 as const,
        vendor: 'test',
        validate: () => Promise.reject(new Error('registry is down')),
      },
    }
    app.handle(command<object>('broken', broken), () => {})
    await app.start()
    expect(await transport.deliver('shop', { type: 'broken', body: json({}) })).toMatchObject({
      kind: 'retry',
    })
    await app.stop()
  })

  test('a body with __proto__ changes no prototype', async () => {
    const { app, transport } = setUp()
    app.handle(Place, () => {})
    await app.start()
    const body = new TextEncoder().encode('{"__proto__":{"polluted":1}}')
    expect(await transport.deliver('shop', { type: 'orders.place', body })).toEqual({ kind: 'ack' })
    expect(({} as { polluted?: number }).polluted).toBeUndefined()
    await app.stop()
  })
})

describe('P4: effectively once', () => {
  test('a duplicate is acknowledged without calling the handler', async () => {
    const { app, place } = setUp()
    const handler = vi.fn<() => void>()
    app.handle(Place, handler)
    await app.start()
    expect(await place({ id: 'm' })).toEqual({ kind: 'ack' })
    expect(await place({ id: 'm', attempt: 2 })).toEqual({ kind: 'ack' })
    expect(handler).toHaveBeenCalledTimes(1)
    await app.stop()
  })

  test("with onDuplicate 'flag' the handler is called and told", async () => {
    const { app, place } = setUp({ idempotency: { onDuplicate: 'flag' } })
    const seen: boolean[] = []
    app.handle(Place, (_, { duplicate }) => void seen.push(duplicate))
    await app.start()
    await place({ id: 'm' })
    await place({ id: 'm' })
    expect(seen).toEqual([false, true])
    await app.stop()
  })

  test('a failed attempt leaves no record: the next try is no duplicate', async () => {
    const { app, place } = setUp({ receive: { immediateRetries: 1 } })
    const seen: number[] = []
    app.handle(Place, (_, { attempt }) => {
      seen.push(attempt)
      if (attempt === 1) throw new Error('once')
    })
    await app.start()
    expect(await place({ id: 'm' })).toEqual({ kind: 'ack' })
    expect(seen).toEqual([1, 2])
    await app.stop()
  })

  test('an error of the database is never taken for a duplicate', async () => {
    const failure = new MersalError('MERSAL_STORE_FAILED', 'inbox is gone')
    const { app, place } = setUp({
      change: (store) => ({
        ...store,
        tracker: { ...store.tracker, track: () => Promise.reject(failure) },
      }),
    })
    const handler = vi.fn<() => void>()
    app.handle(Place, handler)
    await app.start()
    const placed = place()
    await app.stop()
    expect(await placed).toEqual({ kind: 'release' })
    expect(handler).not.toHaveBeenCalled()
  })

  test('after an unknown commit the message is tried again uncharged, and the inbox knows what happened', async () => {
    let lost = true
    const { app, place, rows } = setUp({
      change: (store) => ({
        ...store,
        unitOfWork: async (work) => {
          const result = await store.unitOfWork(work)
          if (!lost) return result
          lost = false
          throw new MersalError('MERSAL_COMMIT_UNKNOWN', 'the answer was lost')
        },
      }),
    })
    const handler = vi.fn<
      (body: object, context: { publish: typeof app.publish }) => Promise<void>
    >(async (_, { publish }) => void (await publish(Placed, { id: 1 })))
    app.handle(Place, handler)
    await app.start()
    expect(await place({ id: 'm' })).toEqual({ kind: 'ack' })
    expect(handler).toHaveBeenCalledTimes(1)
    expect(await rows()).toHaveLength(1)
    await app.stop()
  })
})

describe('the time of a handler', () => {
  test('one that takes too long has failed: its slot is free, its unit rolled back, its later sends refused', async () => {
    const clock = manualClock()
    const { app, place, data, rows } = setUp({
      clock,
      receive: { handlerTimeoutMs: 5000, immediateRetries: 3 },
    })
    const began = Promise.withResolvers<AbortSignal>()
    const goOn = Promise.withResolvers<void>()
    const late = Promise.withResolvers<unknown>()
    let calls = 0
    app.handle(Place, async (_, { tx, publish, signal }) => {
      calls++
      tx.set('order', 1)
      await publish(Placed, { id: 1 })
      began.resolve(signal)
      await goOn.promise
      await publish(Placed, { id: 2 }).catch(late.resolve)
    })
    await app.start()
    const outcome = place()
    const signal = await began.promise
    await clock.advance(4999)
    expect(signal.aborted).toBe(false)
    await clock.advance(1)
    expect(await outcome).toMatchObject({
      kind: 'retry',
      error: { code: 'MERSAL_HANDLER_TIMEOUT' },
    })
    expect(signal.reason).toMatchObject({ code: 'MERSAL_HANDLER_TIMEOUT' })
    goOn.resolve()
    expect(await late.promise).toMatchObject({ code: 'MERSAL_UNIT_ENDED' })
    expect(calls).toBe(1)
    expect(await data()).toEqual([])
    expect(await rows()).toEqual([])
    await app.stop()
  })

  test('a handler that ends in time leaves no timer behind', async () => {
    const clock = manualClock()
    const { app, place } = setUp({ clock })
    app.handle(Place, () => {})
    await app.start()
    await place()
    const before = clock.sleeping
    for (let delivery = 0; delivery < 10; delivery++) await place()
    expect(clock.sleeping).toBe(before)
    await app.stop()
  })

  test('a delivery that the transport has lost is released, whatever the handler does', async () => {
    const { app, place } = setUp()
    const lost = new AbortController()
    app.handle(Place, (_, { signal }) => {
      lost.abort(new Error('lost'))
      return new Promise<void>((_, fail) => {
        if (signal.aborted) fail(new Error('handler heard of it'))
      })
    })
    await app.start()
    expect(await place({ signal: lost.signal })).toEqual({ kind: 'release' })
    await app.stop()
  })
})

describe('steps of the user', () => {
  test('they run around every try, outside the transaction, with the decoded body', async () => {
    const seen: unknown[] = []
    const { app, place } = setUp({
      receive: { immediateRetries: 1 },
      incoming: [
        {
          name: 'note',
          run: async (context, next) => {
            seen.push(
              context.body,
              await app.publish(Placed, { id: 1 }).catch((error: MersalError) => error.code),
            )
            context.body = { id: 7 }
            const disposition = await next()
            seen.push(disposition.kind)
            return disposition
          },
        },
      ],
    })
    app.handle(Place, (body, { attempt }) => {
      seen.push(body)
      if (attempt === 1) throw new Error('once')
    })
    await app.start()
    await app.transaction(async () => void (await place())) // as a broker in the same process might
    const around = [{ id: 1 }, 'MERSAL_NO_TRANSACTION', { id: 7 }]
    expect(seen).toEqual([...around, ...around, 'ack'])
    await app.stop()
  })

  test('a step that returns no disposition is a failure, not an acknowledgement', async () => {
    const { app, place } = setUp({
      incoming: [{ name: 'forgets', run: async (_, next) => void (await next()) as never }],
    })
    app.handle(Place, () => {})
    await app.start()
    expect(await place()).toMatchObject({
      kind: 'retry',
      error: { code: 'MERSAL_INVALID_OPTIONS' },
    })
    await app.stop()
  })
})

test.each([
  { kind: 'retry' },
  { kind: 'retry', delayMs: Number.NaN },
  { kind: 'retry', delayMs: 1e308 },
  { kind: 'reject' },
])('a step that returns %o, which no transport could record, is a failure', async (disposition) => {
  const { app, place } = setUp({
    incoming: [{ name: 'own', run: () => Promise.resolve(disposition as never) }],
  })
  app.handle(Place, () => {})
  await app.start()
  expect(await place()).toMatchObject({
    kind: 'retry',
    delayMs: expect.any(Number) as number,
    error: { code: 'MERSAL_INVALID_OPTIONS' },
  })
  await app.stop()
})

test('an error whose message cannot be read fails its message like any other', async () => {
  const { app, place } = setUp({ receive: { maxDeliveries: 1 } })
  app.handle(Place, () =>
    Promise.reject(Object.assign(new Error(), { message: Symbol('no text') })),
  )
  await app.start()
  expect(await place()).toMatchObject({ kind: 'reject', reason: 'handler-failed' })
  await app.stop()
})

describe('what is told to the world', () => {
  test('P14: logs name id, type and error, never the body', async () => {
    const lines: string[] = []
    const log = (fields: object, text: string) => void lines.push(JSON.stringify(fields) + text)
    const { app, transport } = setUp({
      logger: { debug: log, info: log, warn: log, error: log },
      receive: { maxDeliveries: 1 },
    })
    app.handle(Checked, () => Promise.reject(new Error('no stock')))
    await app.start()
    await transport.deliver('shop', {
      id: 'm1',
      type: 'orders.check',
      body: json({ name: 'hunter2' }),
    })
    await transport.deliver('shop', {
      id: 'm2',
      type: 'orders.check',
      body: json({ name: ['hunter2'] }),
    })
    await transport.deliver('shop', {
      id: 'm3',
      type: 'orders.check',
      body: new TextEncoder().encode('"hunter2'),
    })
    expect(lines).toHaveLength(3)
    for (const [index, reason] of ['handler-failed', 'invalid', 'undecodable'].entries()) {
      expect(lines[index]).toContain(`"id":"m${index + 1}"`)
      expect(lines[index]).toContain(reason)
    }
    expect(lines.join()).not.toContain('hunter2')
    await app.stop()
  })

  test('each delivery is an event with its outcome', async () => {
    const outcomes: string[] = []
    const note = (message: unknown) => {
      const { app, id, outcome } = message as Events['mersal:handle']
      if (app === 'shop') outcomes.push(`${id} ${outcome}`)
    }
    subscribe('mersal:handle', note)
    const { app, place, transport } = setUp()
    app.handle(Place, (_, { message }) => {
      if (message.id === 'bad') throw new Error('bad')
    })
    await app.start()
    await place({ id: 'good' })
    await place({ id: 'good' })
    await place({ id: 'bad' })
    await transport.deliver('shop', { id: 'odd', type: 'orders.lose' })
    unsubscribe('mersal:handle', note)
    expect(outcomes).toEqual(['good handled', 'good duplicate', 'bad retry', 'odd unknown-type'])
    await app.stop()
  })
})
