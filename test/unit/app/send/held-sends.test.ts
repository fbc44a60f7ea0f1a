import { describe, expect, test } from 'vitest'
import {
  type HandlerContext,
  Mersal,
  type MersalOptions,
  type PublishOutcome,
  command,
  event,
} from '../../../../src/index.ts'
import { memoryTransport } from '../../../../src/memory.ts'
import { capture, drain, manualClock } from '../../../../src/testing/index.ts'
import { type FakeTransport, fakeTransport, json } from '../../support/fake-transport.ts'

const Place = command<{ id: number }>('orders.place')
const Placed = event<{ id: number }>('orders.placed')
const Counted = event<{ id: number }>('orders.counted')

type Context = HandlerContext<undefined>

/** An app without a store, whose handler does `work`. */
async function tinyShop(
  work: (context: Context, id: number) => unknown,
  options: Partial<MersalOptions<undefined>> = {},
) {
  const transport = fakeTransport()
  const app = new Mersal<undefined>({
    name: 'tiny',
    transport,
    logger: false,
    random: () => 1,
    receive: { immediateRetries: 0, maxDeliveries: 3 },
    ...options,
  })
  app.handle(Place, async ({ id }, context) => void (await work(context, id)))
  await app.start()
  const place = (attempt = 1, signal?: AbortSignal) =>
    transport.deliver(
      'tiny',
      { id: 'm', type: 'orders.place', body: json({ id: 1 }) },
      { attempt, ...(signal && { signal }) },
    )
  return { app, transport, place, sent: () => bodies(transport) }
}

const bodies = ({ published }: FakeTransport): unknown[] =>
  published.map(({ body }) => JSON.parse(new TextDecoder().decode(body)) as unknown)
const confirmed: PublishOutcome = { kind: 'confirmed' }

describe('what a handler sends without a store', () => {
  test('P1: leaves when the handler has succeeded, and before its delivery is acknowledged', async () => {
    const steps: string[] = []
    const { app, transport, place } = await tinyShop(async ({ tx, publish }) => {
      expect(tx).toBeUndefined()
      await publish(Placed, { id: 1 })
      await app.publish(Counted, { id: 2 })
      await new Promise((resolve) => setImmediate(resolve))
      steps.push(`handler ended, ${transport.published.length} published`)
    })
    transport.answer = async () => {
      await new Promise((resolve) => setImmediate(resolve))
      steps.push('confirmed')
      return confirmed
    }
    expect(await place()).toEqual({ kind: 'ack' })
    expect(steps).toEqual(['handler ended, 0 published', 'confirmed', 'confirmed'])
    await app.stop()
  })

  test('P1: never leaves from an attempt that failed', async () => {
    const { app, place, sent } = await tinyShop(async ({ publish, send, sendLocal, attempt }) => {
      await publish(Placed, { id: attempt })
      await send(Place, { id: attempt })
      await sendLocal(Place, { id: attempt })
      if (attempt < 3) throw new Error('not yet')
    })
    expect(await place(1)).toMatchObject({ kind: 'retry' })
    expect(await place(2)).toMatchObject({ kind: 'retry' })
    expect(sent()).toEqual([])
    expect(await place(3)).toEqual({ kind: 'ack' })
    expect(sent()).toEqual([{ id: 3 }, { id: 3 }, { id: 3 }])
    await app.stop()
  })

  test('goes at once by app.direct, knowingly', async () => {
    const { app, place, sent } = await tinyShop(async ({ publish }) => {
      await publish(Placed, { id: 1 })
      await app.direct.publish(Counted, { id: 2 })
      throw new Error('fails')
    })
    await place()
    expect(sent()).toEqual([{ id: 2 }])
    await app.stop()
  })

  test('that the broker does not take fails the delivery, which comes again and sends again, with new ids', async () => {
    const { app, transport, place } = await tinyShop(async ({ publish }) => {
      await publish(Placed, { id: 1 })
      await publish(Counted, { id: 2 })
    })
    transport.answer = ({ type }) =>
      type === Placed.name ? confirmed : { kind: 'unavailable', error: new Error('away') }
    expect(await place(1)).toMatchObject({ kind: 'retry', error: { code: 'MERSAL_UNAVAILABLE' } })
    transport.answer = () => confirmed
    expect(await place(2)).toEqual({ kind: 'ack' })
    expect(transport.published.map(({ type }) => type)).toEqual([
      Placed.name,
      Counted.name,
      Placed.name,
      Counted.name,
    ])
    expect(new Set(transport.published.map(({ id }) => id)).size).toBe(4)
    await app.stop()
  })

  test.each<[string, (context: Context, app: Mersal) => unknown]>([
    ['by its context', ({ publish }) => void publish(Placed, { id: 1 })],
    ['by the app', (_, app) => void app.publish(Placed, { id: 1 })],
  ])('P3: %s and without await is found, and nothing leaves', async (_, work) => {
    const { app, place, sent } = await tinyShop((context) => work(context, app))
    expect(await place()).toMatchObject({ kind: 'retry', error: { code: 'MERSAL_NOT_AWAITED' } })
    expect(sent()).toEqual([])
    await app.stop()
  })

  test('P3: and that failed fails the attempt, even if the failure was caught', async () => {
    const { app, place, sent } = await tinyShop(async ({ publish }) => {
      await publish(Counted, { id: 2 })
      await publish(Placed, { id: 1 }, { delayMs: 1000 }).catch(() => {})
    })
    expect(await place()).toMatchObject({
      kind: 'retry',
      error: { code: 'MERSAL_ROLLED_BACK', cause: { code: 'MERSAL_INVALID_MESSAGE' } },
    })
    expect(sent()).toEqual([])
    await app.stop()
  })

  test('P3: after the end of the handler is refused, also while the others are being published', async () => {
    let late: (() => Promise<string>) | undefined
    const { app, transport, place, sent } = await tinyShop(async ({ publish }) => {
      late = () => publish(Placed, { id: 2 })
      await publish(Placed, { id: 1 })
    })
    transport.answer = async () => {
      await expect(late!()).rejects.toMatchObject({ code: 'MERSAL_UNIT_ENDED' })
      return confirmed
    }
    expect(await place()).toEqual({ kind: 'ack' })
    await expect(late!()).rejects.toMatchObject({ code: 'MERSAL_UNIT_ENDED' })
    expect(sent()).toEqual([{ id: 1 }])
    await app.stop()
  })

  test('P5: of one key leaves one after the other, over several transports as well; of others together', async () => {
    const other = fakeTransport()
    const { app, transport, place } = await tinyShop(
      async ({ publish }) => {
        await publish(Placed, { id: 1 }, { partitionKey: 'a' })
        await publish(Counted, { id: 2 }, { partitionKey: 'a' })
        await publish(Placed, { id: 3 }, { partitionKey: 'a' })
        await publish(Placed, { id: 4 })
        await publish(Placed, { id: 5 }, { partitionKey: 'b' })
      },
      { bridges: { other }, routes: { [Counted.name]: { transport: 'other' } } },
    )
    const log: string[] = []
    for (const each of [transport, other]) {
      each.answer = async ({ body }) => {
        const { id } = JSON.parse(new TextDecoder().decode(body)) as { id: number }
        log.push(`begin ${id}`)
        await new Promise((resolve) => setImmediate(resolve))
        log.push(`end ${id}`)
        return confirmed
      }
    }
    expect(await place()).toEqual({ kind: 'ack' })
    expect(log.slice(0, 3)).toEqual(['begin 1', 'begin 4', 'begin 5'])
    expect(log.slice(6)).toEqual(['begin 2', 'end 2', 'begin 3', 'end 3'])
    await app.stop()
  })

  test('P5: of one key does not leave when the one before it was not confirmed', async () => {
    const { app, transport, place, sent } = await tinyShop(async ({ publish }) => {
      for (const id of [1, 2, 3]) await publish(Placed, { id }, { partitionKey: 'a' })
    })
    let answers = 0
    transport.answer = () =>
      ++answers === 2 ? { kind: 'unknown', error: new Error('lost') } : confirmed
    expect(await place()).toMatchObject({
      kind: 'retry',
      error: { code: 'MERSAL_UNKNOWN_OUTCOME' },
    })
    expect(sent()).toEqual([{ id: 1 }, { id: 2 }])
    await app.stop()
  })

  test('does not leave when the time of the handler is up, or its delivery was lost', async () => {
    const clock = manualClock()
    const goOn = Promise.withResolvers<void>()
    const { app, place, sent } = await tinyShop(
      async ({ publish }) => {
        await publish(Placed, { id: 1 })
        await goOn.promise
      },
      { clock, receive: { immediateRetries: 0, handlerTimeoutMs: 100 } },
    )
    const late = place()
    await clock.advance(100)
    expect(await late).toMatchObject({ kind: 'retry', error: { code: 'MERSAL_HANDLER_TIMEOUT' } })
    const lost = new AbortController()
    const given = place(2, lost.signal)
    lost.abort(new Error('the connection is gone'))
    expect(await given).toEqual({ kind: 'release' })
    goOn.resolve()
    await new Promise((resolve) => setImmediate(resolve))
    expect(sent()).toEqual([])
    await app.stop()
  })

  test('carries its cause, and has no transaction for steps to look at', async () => {
    const seen: unknown[] = []
    const { app, transport, place } = await tinyShop(({ publish }) => publish(Placed, { id: 1 }), {
      outgoing: [
        { name: 'look', run: (context, next) => (seen.push(context.transaction), next()) },
      ],
    })
    await place()
    expect(seen).toEqual([undefined])
    expect(transport.published[0]?.headers).toMatchObject({ 'causation-id': 'm' })
    await app.stop()
  })

  test('is shown by capture(), and not published', async () => {
    const { app, sent } = await tinyShop(({ publish }, id) => publish(Placed, { id }))
    expect(await capture(app).handle(Place, { id: 7 })).toMatchObject([
      { type: Placed.name, body: { id: 7 } },
    ])
    expect(sent()).toEqual([])
    await app.stop()
  })

  test('fails under capture() as it does when the message arrives', async () => {
    const { app, place } = await tinyShop(({ savepoint }) => savepoint(() => Promise.resolve()))
    const noTransaction = { code: 'MERSAL_NO_TRANSACTION' }
    expect(await place()).toMatchObject({ kind: 'retry', error: noTransaction })
    await expect(capture(app).handle(Place, { id: 7 })).rejects.toMatchObject(noTransaction)
    await app.stop()
  })

  test('arrives, over a transport that keeps the order of a key', async () => {
    const app = new Mersal({
      name: 'tiny',
      transport: memoryTransport(),
      logger: false,
      receive: { concurrency: 1 },
    })
    const seen: number[] = []
    app.handle(Place, async (_, { publish }) => {
      for (let id = 1; id <= 50; id++) await publish(Placed, { id }, { partitionKey: 'a' })
    })
    app.handle(Placed, ({ id }) => void seen.push(id))
    await app.start()
    await app.sendLocal(Place, { id: 1 })
    await drain(app)
    expect(seen).toEqual(Array.from({ length: 50 }, (_, index) => index + 1))
    await app.stop()
  })
})
