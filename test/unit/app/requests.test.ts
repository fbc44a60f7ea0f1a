import { AsyncLocalStorage } from 'node:async_hooks'
import { describe, expect, test, vi } from 'vitest'
import {
  command,
  event,
  Mersal,
  MersalError,
  type MersalOptions,
  reject,
} from '../../../src/index.ts'
import { memoryNetwork, memoryStore, type MemoryTransaction } from '../../../src/memory.ts'
import { manualClock } from '../../../src/testing/index.ts'
import { replyTypes } from '../../../src/core/messages/message.ts'
import { fakeTransport, json } from '../support/fake-transport.ts'

const Quote = command<{ sku: string }, { cents: number }>('prices.quote')
const routes = { [Quote.name]: 'prices' }

function openShop(options: Partial<MersalOptions<MemoryTransaction>> = {}) {
  const network = memoryNetwork()
  const app = (name: string, more: object = {}) =>
    new Mersal<MemoryTransaction>({
      name,
      transport: network.transport(),
      logger: false,
      receive: { immediateRetries: 0, backoff: { firstMs: 1, longestMs: 1 } },
      ...more,
    })
  const store = memoryStore()
  const prices = app('prices', { store, ...options })
  const shop = app('shop', { routes })
  const start = () => Promise.all([prices.start(), shop.start()])
  const stop = () => Promise.all([shop.stop(), prices.stop()])
  return { network, app, store, prices, shop, start, stop }
}

/** An app that has started, and whose broker is in the hands of the test. */
async function openAlone(options: Partial<MersalOptions<MemoryTransaction>> = {}) {
  const transport = fakeTransport()
  const shop = new Mersal({ name: 'shop', transport, routes, logger: false, ...options })
  await shop.start()
  return { shop, transport }
}

describe('a request', () => {
  test('resolves to the reply of the handler, many at a time, each to its own', async () => {
    const { prices, shop, start, stop } = openShop()
    prices.handle(Quote, async ({ sku }, { reply }) => void (await reply({ cents: Number(sku) })))
    await start()
    const given = Array.from({ length: 50 }, (_, index) => index)
    const replies = await Promise.all(
      given.map((index) => shop.request(Quote, { sku: String(index) })),
    )
    expect(replies.map(({ cents }) => cents)).toEqual(given)
    await stop()
  })

  test('P1: gets the reply of the try that commits, and none of one that is rolled back', async () => {
    const { prices, shop, start, stop } = openShop()
    prices.handle(Quote, async (_, { reply, attempt }) => {
      await reply({ cents: attempt })
      if (attempt < 3) throw new Error('not yet')
    })
    await start()
    expect(await shop.request(Quote, { sku: 'tea' })).toEqual({ cents: 3 })
    await stop()
  })

  test('goes to an address, from an app that only sends', async () => {
    const { prices, app, stop, start } = openShop()
    prices.handle(Quote, async (_, { reply }) => void (await reply({ cents: 5 })))
    await start()
    const desk = app('desk', { sendOnly: true })
    await desk.start()
    expect(await desk.request(Quote, { sku: 'tea' }, { to: 'prices' })).toEqual({ cents: 5 })
    await desk.stop()
    await stop()
  })

  test('comes back over the transport that brought it', async () => {
    const [east, west] = [memoryNetwork(), memoryNetwork()]
    const prices = new Mersal({
      name: 'prices',
      transport: east.transport(),
      bridges: { west: west.transport() },
      routes: { ping: { transport: 'west' } },
      logger: false,
    })
    prices.handle(Quote, async (_, { reply }) => void (await reply({ cents: 5 })))
    // So its queue is on that transport, too.
    prices.handle(event('ping'), () => {})
    const shop = new Mersal({ name: 'shop', transport: west.transport(), routes, logger: false })
    await Promise.all([prices.start(), shop.start()])
    expect(await shop.request(Quote, { sku: 'tea' }, { timeoutMs: 5000 })).toEqual({ cents: 5 })
    await Promise.all([shop.stop(), prices.stop()])
  })

  test('fails at once when its message becomes a dead letter', async () => {
    const { prices, shop, start, stop } = openShop()
    prices.handle(Quote, async (_, { reply }) => {
      await reply({ cents: 1 })
      reject('no such thing')
    })
    await start()
    await expect(shop.request(Quote, { sku: 'tea' })).rejects.toMatchObject({
      code: 'MERSAL_REQUEST_FAILED',
      details: { reason: 'rejected' },
    })
    const Unknown = command<object>('prices.unknown')
    await expect(shop.request(Unknown, {}, { to: 'prices' })).rejects.toMatchObject({
      code: 'MERSAL_REQUEST_FAILED',
      details: { reason: 'unknown-type' },
    })
    await stop()
  })

  test('has the id that its sender has chosen, so that one that comes back can ask for it', async () => {
    const { prices, shop, start, stop } = openShop()
    const seen: string[] = []
    prices.handle(Quote, async (_, { reply, message }) => {
      seen.push(message.id)
      await reply({ cents: 7 })
    })
    await start()
    const id = crypto.randomUUID()
    expect(await shop.request(Quote, { sku: 'tea' }, { id })).toEqual({ cents: 7 })
    expect(await prices.outcome(id)).toBe('handled')
    expect(seen).toEqual([id])
    await stop()
  })

  test('P4: that comes again with its id takes effect once, and gets no second reply', async () => {
    const { prices, shop, start, stop } = openShop()
    let effects = 0
    prices.handle(Quote, async (_, { reply }) => {
      effects += 1
      await reply({ cents: 7 })
    })
    await start()
    const id = crypto.randomUUID()
    expect(await shop.request(Quote, { sku: 'tea' }, { id })).toEqual({ cents: 7 })
    await expect(shop.request(Quote, { sku: 'tea' }, { id, timeoutMs: 50 })).rejects.toMatchObject({
      code: 'MERSAL_NO_REPLY',
      details: { id },
    })
    expect(effects).toBe(1)
    await stop()
  })

  test('is refused if its id is no UUID, or that of another one that waits', async () => {
    const { shop } = await openAlone()
    const invalid = { code: 'MERSAL_INVALID_MESSAGE', details: { field: 'id' } }
    await expect(shop.request(Quote, { sku: 'tea' }, { id: '7' })).rejects.toMatchObject(invalid)
    const id = crypto.randomUUID()
    const first = shop.request(Quote, { sku: 'tea' }, { id })
    await expect(shop.request(Quote, { sku: 'tea' }, { id })).rejects.toMatchObject(invalid)
    const ended = expect(first).rejects.toMatchObject({ code: 'MERSAL_APP_STOPPED' })
    await shop.stop()
    await ended
  })

  test('takes the first of two replies, and drops what comes twice or late', async () => {
    const { prices, shop, start, stop, network } = openShop()
    const late = Promise.withResolvers<void>()
    prices.handle(Quote, async ({ sku }, { reply }) => {
      if (sku === 'late') await late.promise
      await reply({ cents: 1 })
      await reply({ cents: 2 })
    })
    await start()
    expect(await shop.request(Quote, { sku: 'tea' })).toEqual({ cents: 1 })
    const slow = shop.request(Quote, { sku: 'late' }, { timeoutMs: 20 })
    await expect(slow).rejects.toMatchObject({ code: 'MERSAL_NO_REPLY' })
    late.resolve()
    expect(await shop.request(Quote, { sku: 'tea' })).toEqual({ cents: 1 })
    await prices.drain()
    await stop()
    expect(await network.deadLetters.list()).toEqual([])
  })

  test('P8: whose asker has gone fails no handler of an app without a store', async () => {
    const { app, shop, network, prices } = openShop()
    const quotes = app('quotes')
    const late = Promise.withResolvers<void>()
    const began = Promise.withResolvers<void>()
    const handled = vi.fn()
    quotes.handle(Quote, async (_, { reply }) => {
      handled()
      began.resolve()
      await late.promise
      await reply({ cents: 1 })
    })
    await Promise.all([quotes.start(), shop.start()])
    const asked = shop.request(Quote, { sku: 'tea' }, { to: 'quotes' })
    const stopped = expect(asked).rejects.toMatchObject({ code: 'MERSAL_APP_STOPPED' })
    await began.promise
    await shop.stop()
    await stopped
    late.resolve()
    await quotes.stop()
    expect(handled).toHaveBeenCalledTimes(1)
    expect(await network.deadLetters.list()).toEqual([])
    await prices.stop()
  })

  test('P8: whose asker has gone leaves no dead letter: the reply has nowhere to go', async () => {
    const { prices, shop, start, store } = openShop()
    const late = Promise.withResolvers<void>()
    const began = Promise.withResolvers<void>()
    prices.handle(Quote, async (_, { reply }) => {
      began.resolve()
      await late.promise
      await reply({ cents: 1 })
    })
    await start()
    const asked = shop.request(Quote, { sku: 'tea' })
    const stopped = expect(asked).rejects.toMatchObject({ code: 'MERSAL_APP_STOPPED' })
    await began.promise
    await shop.stop()
    await stopped
    late.resolve()
    const stats = () => store.admin.stats()
    await vi.waitFor(async () => expect(await stats()).toMatchObject({ pending: 0, dead: 0 }))
    await prices.stop()
  })

  test('without a reply in time fails by the clock, and tells the id', async () => {
    const clock = manualClock()
    const { prices, app, network } = openShop()
    prices.handle(Quote, () => {})
    await prices.start()
    const shop = app('shop', { routes, clock, transport: network.transport() })
    await shop.start()
    const asked = shop.request(Quote, { sku: 'tea' }, { timeoutMs: 1000 })
    const failed = expect(asked).rejects.toMatchObject({
      code: 'MERSAL_NO_REPLY',
      details: { id: expect.any(String) as string },
    })
    await clock.advance(1000)
    await failed
    await Promise.all([shop.stop(), prices.stop()])
  })

  test('that nobody waits for any more when its queue is made at last is not sent', async () => {
    const clock = manualClock()
    const { shop, transport } = await openAlone({ clock })
    const { promise: there, resolve } = Promise.withResolvers<void>()
    transport.onCall = () => there
    const asked = shop.request(Quote, { sku: 'tea' }, { timeoutMs: 1000 })
    const failed = expect(asked).rejects.toMatchObject({ code: 'MERSAL_NO_REPLY' })
    await clock.advance(1000)
    await failed
    resolve()
    const next = shop.request(Quote, { sku: 'ink' }, { timeoutMs: 1000 })
    next.catch(() => {})
    const sent = () => transport.published.map(({ body }) => Buffer.from(body).toString())
    await vi.waitFor(() => expect(sent()).not.toEqual([]))
    expect(sent()).toEqual(['{"sku":"ink"}'])
    await clock.advance(1000)
    await shop.stop()
  })

  test('P10: after one that got no reply the queue is made again, since somebody may have removed it', async () => {
    const clock = manualClock()
    const { shop, transport } = await openAlone({ clock })
    const ask = async () => {
      const asked = shop.request(Quote, { sku: 'tea' }, { timeoutMs: 1000 })
      const failed = expect(asked).rejects.toMatchObject({ code: 'MERSAL_NO_REPLY' })
      const sent = transport.published.length + 1
      await vi.waitFor(() => expect(transport.published).toHaveLength(sent))
      return async () => {
        await clock.advance(1000)
        await failed
      }
    }
    const queues = () => transport.subscriptions.filter((queue) => queue.includes('.replies.'))
    const both = [await ask(), await ask()]
    expect(queues()).toHaveLength(1)
    for (const end of both) await end()
    await (await ask())()
    expect(queues()).toHaveLength(2)
    expect(new Set(queues()).size).toBe(1)
    await shop.stop()
  })

  test('whose broker is away fails as a direct send does, and the next one makes the queue', async () => {
    const { shop, transport } = await openAlone()
    transport.onCall = () => {
      throw new MersalError('MERSAL_UNAVAILABLE', 'nobody is there')
    }
    const away = shop.request(Quote, { sku: 'tea' })
    await expect(away).rejects.toMatchObject({ code: 'MERSAL_UNAVAILABLE' })
    expect(transport.published).toEqual([])
    transport.onCall = () => {}
    const error = new Error('nobody is there')
    transport.answer = () => ({ kind: 'unavailable', error })
    const direct = shop.request(Quote, { sku: 'tea' })
    await expect(direct).rejects.toMatchObject({ code: 'MERSAL_UNAVAILABLE' })
    expect(transport.published).toHaveLength(1)
    await shop.stop()
  })

  test('does not carry the context of the first one into the replies of all others', async () => {
    const { shop, transport } = await openAlone()
    const context = new AsyncLocalStorage<string>()
    const seen: unknown[] = []
    transport.onCall = () => void seen.push(context.getStore())
    const asked = context.run('first', () => shop.request(Quote, { sku: 'tea' }))
    const stopped = expect(asked).rejects.toMatchObject({ code: 'MERSAL_APP_STOPPED' })
    await vi.waitFor(() => expect(transport.published).toHaveLength(1))
    expect(seen).toEqual([undefined, undefined])
    await shop.stop()
    await stopped
  })

  test('ends with its signal, and is not sent if that has aborted before', async () => {
    const { prices, shop, start, stop } = openShop()
    const handled = vi.fn()
    prices.handle(Quote, handled)
    await start()
    const signal = AbortSignal.timeout(5)
    await expect(shop.request(Quote, { sku: 'tea' }, { signal })).rejects.toThrow(/timeout/)
    await vi.waitFor(() => expect(handled).toHaveBeenCalledTimes(1))
    const gone = shop.request(Quote, { sku: 'tea' }, { signal: AbortSignal.abort(new Error('no')) })
    await expect(gone).rejects.toThrow('no')
    await stop()
    expect(handled).toHaveBeenCalledTimes(1)
  })

  test('is answered by another program, which knows two headers and a type', async () => {
    const { shop, transport } = await openAlone()
    const asked = shop.request(Quote, { sku: 'tea' })
    await vi.waitFor(() => expect(transport.published).toHaveLength(1))
    const { id = '', headers } = transport.published[0] ?? {}
    const answer = (causation: string, cents: number) =>
      transport.deliver(headers?.['reply-to'] ?? '', {
        type: 'mersal.reply',
        headers: { 'causation-id': causation, 'content-type': 'application/json' },
        body: json({ cents }),
      })
    expect(await answer(crypto.randomUUID(), 1)).toEqual({ kind: 'ack' })
    expect(await answer(id, 2)).toEqual({ kind: 'ack' })
    expect(await asked).toEqual({ cents: 2 })
    expect(await answer(id, 3)).toEqual({ kind: 'ack' })
    await shop.stop()
  })

  test('to a queue that is not there fails as a direct send does', async () => {
    const { shop, stop } = openShop()
    await shop.start()
    const lost = shop.request(Quote, { sku: 'tea' }, { to: 'nobody' })
    await expect(lost).rejects.toMatchObject({ code: 'MERSAL_UNROUTABLE' })
    await stop()
  })

  test('P3: inside a transaction is refused', async () => {
    const { prices, stop } = openShop()
    prices.handle(Quote, () => {})
    await prices.start()
    const unit = prices.transaction(async () => {
      await prices.request(Quote, { sku: 'tea' })
    })
    await expect(unit).rejects.toThrow('inside an open transaction')
    await stop()
  })

  test.each([
    ['an event', event('happened'), {}, 'MERSAL_INVALID_MESSAGE'],
    ['no time', Quote, { timeoutMs: 0 }, 'MERSAL_INVALID_OPTIONS'],
    ['an unknown option', Quote, { delayMs: 5 }, 'MERSAL_INVALID_OPTIONS'],
    ['no signal', Quote, { signal: 'now' }, 'MERSAL_INVALID_OPTIONS'],
    ['a header of ours', Quote, { headers: { 'reply-to': 'me' } }, 'MERSAL_INVALID_MESSAGE'],
  ])('with %s is refused', async (_what, type, options: object, code) => {
    const { shop, stop } = openShop()
    await shop.start()
    await expect(shop.request(type as typeof Quote, { sku: 'tea' }, options)).rejects.toMatchObject(
      {
        code,
      },
    )
    await stop()
  })

  test('of an app that has stopped is refused', async () => {
    const { shop, prices } = openShop()
    await shop.stop()
    const refused = { code: 'MERSAL_APP_STOPPED' }
    await expect(shop.request(Quote, { sku: 'tea' })).rejects.toMatchObject(refused)
    await prices.stop()
  })
})

describe('a reply', () => {
  test('to a message that asked for none is refused, and says what to do', async () => {
    const { prices, shop, start, stop } = openShop()
    const { promise, resolve } = Promise.withResolvers<unknown>()
    prices.handle(Quote, async (_, { reply }) => {
      resolve(await reply({ cents: 1 }).catch((error: unknown) => error))
    })
    await start()
    await shop.send(Quote, { sku: 'tea' })
    const message = expect.stringContaining("look at message.headers['reply-to'] first") as string
    expect(await promise).toMatchObject({ code: 'MERSAL_NO_ROUTE', message })
    await stop()
  })

  test('P3: that nobody asked for and nobody awaits fails its handler before the commit', async () => {
    const { prices, shop, start, stop, network } = openShop()
    prices.handle(Quote, (_, { tx, reply }) => {
      tx.set('quoted', true)
      void reply({ cents: 1 })
    })
    await start()
    await shop.send(Quote, { sku: 'tea' })
    const dead = () => network.deadLetters.list()
    await vi.waitFor(async () => expect(await dead()).toMatchObject([{ reason: 'handler-failed' }]))
    expect(await prices.transaction(async (tx) => tx.get('quoted'))).toBeUndefined()
    await stop()
  })

  test('is a message of its own type, and names the request', async () => {
    const { prices, network, store } = openShop({ outbox: { runRelay: false } })
    prices.handle(Quote, async (_, { reply }) => void (await reply({ cents: 1 })))
    await prices.start()
    const transport = network.transport()
    await transport.subscribe('asker', [])
    const id = crypto.randomUUID()
    const to = { transport: 'default', kind: 'queue', name: 'prices' } as const
    const headers = { 'reply-to': 'asker', 'content-type': 'application/json' }
    const body = Buffer.from('{"sku":"tea"}')
    await Promise.all(transport.publish([{ id, type: Quote.name, headers, body, to }]))
    await vi.waitFor(async () => expect((await store.admin.stats()).pending).toBe(1))
    const claim = { limit: 1, claimMs: 1000, token: 'test' }
    const [row] = await store.outbox.claim(claim)
    expect(row?.message).toMatchObject({
      type: replyTypes.reply,
      to: { name: 'asker', transport: 'default' },
      headers: { 'causation-id': id },
    })
    await Promise.all([prices.stop(), transport[Symbol.asyncDispose]()])
  })
})

describe('a request that no handler gets', () => {
  test('fails with the reason of its dead letter, also if nobody could tell what it is', async () => {
    const { prices, shop, start, stop } = openShop({
      wireFormat: {
        headers: () => ({}),
        read: () => {
          throw new Error('no format')
        },
      },
    })
    prices.handle(Quote, () => {})
    await start()
    await expect(shop.request(Quote, { sku: 'tea' })).rejects.toMatchObject({
      code: 'MERSAL_REQUEST_FAILED',
      details: { reason: 'malformed' },
    })
    await stop()
  })
})
