import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  command,
  type Logger,
  type MersalOptions,
  saga,
  type Serializer,
} from '../../../src/index.ts'
import type { MemoryTransaction } from '../../../src/memory.ts'
import { rehearse } from '../../../src/testing/index.ts'
import { json } from '../support/fake-transport.ts'
import { openShop } from '../support/shop.ts'
import { openScene, Order } from '../tenants/support.ts'

const Place = command('orders.place')
const late = (): never => Promise.reject(new Error('nobody looks at this')) as never

/** What would have ended the process. */
let unhandled: unknown[] = []
const note = (reason: unknown): void => void unhandled.push(reason)
beforeEach(() => {
  unhandled = []
  process.on('unhandledRejection', note)
})
afterEach(async () => {
  await new Promise(setImmediate)
  process.off('unhandledRejection', note)
  expect(unhandled).toEqual([])
})

function logged(): Logger & { readonly answers: unknown[] } {
  const answers: unknown[] = []
  const ignore = (): void => {}
  const error = (fields: object): void => void answers.push((fields as { answer?: unknown }).answer)
  return { debug: ignore, info: ignore, warn: ignore, error, answers }
}

const PROMISE = 'it returned a promise: it must answer at once'

async function delivered(
  options: Partial<MersalOptions<MemoryTransaction>>,
  handling: object = {},
  type: string = Place.name,
) {
  const { app, transport } = openShop(options)
  const fail = (): never => {
    throw new Error('no paper')
  }
  app.handle(Place, 'retry' in handling ? fail : () => {}, handling)
  await app.start()
  const end = await transport.deliver('shop', { type, body: json(1) })
  await app.stop()
  return end
}

describe('a promise, where an answer is due at once, ends no process', () => {
  test('typeOf: the message becomes a dead letter that says so', async () => {
    const end = await delivered({ typeOf: late }, {}, '')
    expect(end).toMatchObject({ kind: 'reject', reason: 'malformed' })
    expect((end as unknown as { error: Error }).error.message).toContain('gave a promise')
  })

  test('a wire format: the message becomes a dead letter, and a send is refused', async () => {
    const read = { headers: () => ({}), read: late }
    const end = await delivered({ wireFormat: read })
    expect(end).toMatchObject({ kind: 'reject', reason: 'malformed' })
    const { app } = openShop({ wireFormat: { headers: late, read: () => undefined } })
    app.handle(Place, () => {})
    const sending = app.transaction((_, { send }) => send(Place, 1))
    await expect(sending).rejects.toMatchObject({ code: 'MERSAL_INVALID_OPTIONS' })
    await app.stop()
  })

  test('a wire format whose headers are no texts: a send is refused, and names the header', async () => {
    const headers = (): never => ({ 'x-number': 7 }) as never
    const { app } = openShop({ wireFormat: { headers, read: () => undefined } })
    app.handle(Place, () => {})
    const sending = app.transaction((_, { send }) => send(Place, 1))
    await expect(sending).rejects.toMatchObject({
      code: 'MERSAL_INVALID_OPTIONS',
      details: { field: "wireFormat.headers()['x-number']" },
    })
    await app.stop()
  })

  test('by of a limit, retryIf and backoff: logged, as any other wrong answer', async () => {
    const logger = logged()
    const limit = { perSecond: 1000, by: late }
    expect(await delivered({ logger }, { limit })).toEqual({ kind: 'ack' })
    const retry = { retryIf: late, backoff: late }
    expect(await delivered({ logger }, { retry })).toMatchObject({ kind: 'retry' })
    expect(logger.answers).toEqual([PROMISE, PROMISE, PROMISE])
  })

  test('encode and decode of a serializer: refused', async () => {
    const write: Serializer = { contentType: 'text/x', encode: late, decode: () => 1 }
    const read: Serializer = { contentType: 'text/x', encode: () => json(1), decode: late }
    const send = async (serializer: Serializer): Promise<unknown> => {
      const { app } = openShop({ serializer })
      app.handle(Place, () => {})
      try {
        return await app.transaction((_, { send: post }) => post(Place, 1))
      } finally {
        await app.stop()
      }
    }
    await expect(send(write)).rejects.toMatchObject({ code: 'MERSAL_ENCODE' })
    await expect(send(read)).rejects.toMatchObject({ code: 'MERSAL_INVALID_BODY' })
    const end = await delivered({ serializer: read })
    expect(end).toMatchObject({ kind: 'reject', reason: 'undecodable' })
  })

  test('the function that lists what a saga does: refused, in a rehearsal too', async () => {
    const { app } = openShop()
    const refused = expect.objectContaining({ code: 'MERSAL_INVALID_OPTIONS' }) as Error
    expect(() => app.saga(saga('order'), late)).toThrow(refused)
    expect(() => rehearse(saga('order'), late)).toThrow(refused)
    await app.stop()
  })

  test('setUp of tenants: their start fails', async () => {
    const { tenants } = openScene({ setUp: late })
    await expect(tenants.start()).rejects.toMatchObject({
      code: 'MERSAL_INVALID_OPTIONS',
      details: { field: 'setUp' },
    })
  })

  test('tenantOf: logged, and the message is a dead letter', async () => {
    const logger = logged()
    const scene = openScene({ tenantOf: late, logger })
    await using _ = scene.tenants
    await scene.tenants.start()
    await scene.network.transport().publish([
      {
        id: crypto.randomUUID(),
        type: Order.name,
        headers: {},
        body: json({ item: 'rope' }),
        to: { transport: 'default', kind: 'queue', name: 'orders' },
      },
    ])[0]
    await expect
      .poll(async () => (await scene.network.deadLetters.list()).map(({ reason }) => reason))
      .toEqual(['unknown-tenant'])
    expect(logger.answers).toContain(PROMISE)
  })
})
