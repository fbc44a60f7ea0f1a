import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import {
  Mersal,
  type MersalOptions,
  MersalError,
  type PublishOutcome,
  command,
  event,
} from '../../../../src/index.ts'
import { type MemoryTransaction, memoryStore } from '../../../../src/memory.ts'
import { manualClock } from '../../../../src/testing/index.ts'
import { rejection } from '../../support/errors.ts'
import { fakeTransport, json } from '../../support/fake-transport.ts'

const Placed = event<{ id: number }>('orders.placed')
const Place = command<{ id: number }>('orders.place')
const Named = event('names.given', z.object({ name: z.string().min(1).trim() }))

function setUp(options: Partial<MersalOptions<MemoryTransaction>> = {}) {
  const store = memoryStore()
  const transport = fakeTransport({ maxMessageBytes: 2000 })
  const app = new Mersal<MemoryTransaction>({
    name: 'shop',
    store,
    transport,
    outbox: { runRelay: false },
    logger: false,
    ...options,
  })
  const messages = async () =>
    (await store.outbox.claim({ limit: 100, claimMs: 60_000, token: 'test' })).map(
      (row) => row.message,
    )
  const sendOne = async (...given: Parameters<typeof app.publish<{ id: number }>>) => {
    await app.transaction(async (_tx, { publish }) => publish(...given))
    return (await messages())[0]!
  }
  return { app, store, transport, messages, sendOne }
}

describe('headers', () => {
  test('id, sender, time, content type and correlation are set', async () => {
    const clock = manualClock({ startAt: Date.UTC(2026, 2, 1) })
    const { sendOne } = setUp({ clock })
    const message = await sendOne(
      Placed,
      { id: 1 },
      { partitionKey: 'k', headers: { 'X-Tenant': 'näme' } },
    )
    expect(message.id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7/)
    expect(message.headers).toEqual({
      'correlation-id': message.id,
      'sent-at': '2026-03-01T00:00:00.000Z',
      'content-type': 'application/json',
      sender: 'shop',
      'partition-key': 'k',
      'x-tenant': 'näme',
    })
    expect(message).toMatchObject({
      type: 'orders.placed',
      partitionKey: 'k',
      to: { transport: 'default', kind: 'topic', name: 'orders.placed' },
    })
  })

  test('what a handler sends carries correlation, cause and trace of the message that it handles', async () => {
    const { app, transport, messages } = setUp()
    app.handle(Place, async (_, { publish }) => void (await publish(Placed, { id: 2 })))
    await app.start()
    const headers = { 'correlation-id': 'journey', traceparent: '00-1-2-01' }
    expect(
      await transport.deliver('shop', {
        id: 'first',
        type: 'orders.place',
        headers,
        body: json({ id: 1 }),
      }),
    ).toEqual({ kind: 'ack' })
    expect((await messages())[0]?.headers).toMatchObject({
      'correlation-id': 'journey',
      'causation-id': 'first',
      traceparent: '00-1-2-01',
    })
    await app.stop()
  })

  test('a correlation or trace that could not travel on is left behind, and fails nobody who handles it', async () => {
    const { app, transport, messages } = setUp()
    app.handle(Place, async (_, { publish }) => void (await publish(Placed, { id: 2 })))
    await app.start()
    const headers = { 'correlation-id': 5 as never, traceparent: 'a\0b' }
    expect(
      await transport.deliver('shop', {
        id: 'first',
        type: 'orders.place',
        headers,
        body: json({ id: 1 }),
      }),
    ).toEqual({ kind: 'ack' })
    const [sent] = await messages()
    expect(sent?.headers).toMatchObject({ 'correlation-id': 'first', 'causation-id': 'first' })
    expect(sent?.headers).not.toHaveProperty('traceparent')
    await app.stop()
  })

  test('a message without correlation starts one with its own id', async () => {
    const { app, transport, messages } = setUp()
    app.handle(Place, async () => void (await app.publish(Placed, { id: 2 })))
    await app.start()
    await transport.deliver('shop', { id: 'first', type: 'orders.place', body: json({ id: 1 }) })
    expect((await messages())[0]?.headers).toMatchObject({
      'correlation-id': 'first',
      'causation-id': 'first',
    })
    await app.stop()
  })
})

describe('steps of the user', () => {
  test('they run around the rest in their order, may change body and headers, and see the transaction', async () => {
    const seen: unknown[] = []
    const { app, messages } = setUp({
      outgoing: [
        {
          name: 'outer',
          run: async (context, next) => {
            seen.push('outer', (context.transaction as { tx: unknown }).tx)
            context.headers['tenant'] = 'a'
            const message = await next()
            seen.push(message.headers['tenant'])
            return message
          },
        },
        {
          name: 'inner',
          run: (context, next) => {
            seen.push('inner')
            context.body = { id: 9 }
            return next()
          },
        },
      ],
    })
    const tx = await app.transaction(async (tx, { publish }) => {
      await publish(Placed, { id: 1 })
      return tx
    })
    const [message] = await messages()
    expect(seen).toEqual(['outer', tx, 'inner', 'a'])
    expect(message?.headers['tenant']).toBe('a')
    expect(new TextDecoder().decode(message?.body)).toBe('{"id":9}')
  })

  const wrong = {
    'a header that is no text': [
      (context: { headers: Record<string, string> }) => void (context.headers['x'] = 1 as never),
      'MERSAL_INVALID_MESSAGE',
    ],
    'an own header made no text': [
      (context: { headers: Record<string, string> }) =>
        void (context.headers['sender'] = 1 as never),
      'MERSAL_INVALID_MESSAGE',
    ],
  } as const
  for (const [what, [change, code]] of Object.entries(wrong)) {
    test(`${what} is refused`, async () => {
      const { sendOne } = setUp({
        outgoing: [{ name: 'x', run: (context, next) => (change(context), next()) }],
      })
      await rejection(sendOne(Placed, { id: 1 }), code)
    })
  }

  test('calling next() twice is refused, and so is another message in place of the one that was made', async () => {
    const twice = setUp({
      outgoing: [{ name: 'twice', run: async (_, next) => (await next(), next()) }],
    })
    expect(
      (await rejection(twice.sendOne(Placed, { id: 1 }), 'MERSAL_INVALID_OPTIONS')).message,
    ).toContain("'twice'")
    const swap = setUp({
      outgoing: [{ name: 'swap', run: async (_, next) => ({ ...(await next()), id: 'other' }) }],
    })
    await rejection(swap.sendOne(Placed, { id: 1 }), 'MERSAL_INVALID_MESSAGE')
  })
})

describe('schemas', () => {
  test('what the schema makes of the body is what travels', async () => {
    const { app, messages } = setUp()
    await app.transaction(async (_tx, { publish }) =>
      publish(Named, { name: '  Ada ', secret: 1 } as { name: string }),
    )
    expect(new TextDecoder().decode((await messages())[0]?.body)).toBe('{"name":"Ada"}')
  })

  test('a refused body is named by its fields, never by its values, and nothing is stored', async () => {
    const { app, messages } = setUp()
    const body = { name: 'hunter2'.length } as never
    const error = await rejection(
      app.transaction(async (_tx, { publish }) => publish(Named, body)),
      'MERSAL_INVALID_BODY',
    )
    expect(error.message).toContain("'name'")
    expect(error.message).not.toContain('7')
    expect(error.details['issues']).toMatchObject([{ path: 'name' }])
    expect(await messages()).toEqual([])
  })

  test('an asynchronous schema is waited for, and keeps the order of the calls', async () => {
    const gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    const Slow = event(
      'slow',
      z.object({ n: z.number() }).refine(async ({ n }) => (await gates[n]?.promise, true)),
    )
    const { app, messages } = setUp()
    await app.transaction(async (_tx, { publish }) => {
      const sending = Promise.all([publish(Slow, { n: 0 }), publish(Slow, { n: 1 })])
      gates[1]?.resolve()
      gates[0]?.resolve()
      await sending
    })
    expect((await messages()).map(({ body }) => new TextDecoder().decode(body))).toEqual([
      '{"n":0}',
      '{"n":1}',
    ])
  })
})

describe('bad input is refused at the send, and nothing is stored', () => {
  const circular: Record<string, unknown> = {}
  circular['self'] = circular
  const cases: Record<string, [unknown, object | undefined, MersalError['code']]> = {
    'a body with a cycle': [circular, undefined, 'MERSAL_ENCODE'],
    'a body with a bigint': [{ id: 1n }, undefined, 'MERSAL_ENCODE'],
    'no body': [undefined, undefined, 'MERSAL_ENCODE'],
    'a body above the limit of the transport': [
      { text: 'x'.repeat(2000) },
      undefined,
      'MERSAL_TOO_LARGE',
    ],
    'headers above the limit of the transport': [
      {},
      { headers: { a: 'x'.repeat(2000) } },
      'MERSAL_TOO_LARGE',
    ],
    'a header that is no text': [{}, { headers: { a: 1 } }, 'MERSAL_INVALID_MESSAGE'],
    'a header with a line break': [{}, { headers: { a: 'b\r\nc: d' } }, 'MERSAL_INVALID_MESSAGE'],
    'a header that Mersal sets itself': [
      {},
      { headers: { sender: 'me' } },
      'MERSAL_INVALID_MESSAGE',
    ],
    'headers that are null': [{}, { headers: null }, 'MERSAL_INVALID_OPTIONS'],
    'headers in a Map, which would be lost': [
      {},
      { headers: new Map([['a', 'b']]) },
      'MERSAL_INVALID_MESSAGE',
    ],
    'headers that are no object': [{}, { headers: 'a=b' }, 'MERSAL_INVALID_OPTIONS'],
    'a partition key that is no text': [{}, { partitionKey: 1 }, 'MERSAL_INVALID_MESSAGE'],
    'an empty partition key': [{}, { partitionKey: '' }, 'MERSAL_INVALID_MESSAGE'],
    'a negative delay': [{}, { delayMs: -1 }, 'MERSAL_INVALID_MESSAGE'],
    'an unknown option': [{}, { partitonKey: 'k' }, 'MERSAL_INVALID_OPTIONS'],
  }
  for (const [what, [body, options, code]] of Object.entries(cases)) {
    test(what, async () => {
      const { app, store, messages } = setUp()
      const failing = app.transaction(async (tx, { publish }) => {
        tx.set('order', 1)
        await publish(Placed, body as never, options as never)
      })
      await rejection(failing, code)
      expect(await messages()).toEqual([])
      expect(await store.unitOfWork(async (tx) => tx.entries())).toEqual([])
    })
  }

  test('a suggestion comes with an unknown option', async () => {
    const { sendOne } = setUp()
    const error = await rejection(
      sendOne(Placed, { id: 1 }, { partitonKey: 'k' } as never),
      'MERSAL_INVALID_OPTIONS',
    )
    expect(error.message).toContain("did you mean 'partitionKey'?")
  })

  test('a type that was not made by command() or event(), or is of the wrong kind', async () => {
    const { app } = setUp()
    await rejection(
      app.transaction(async (_tx, { publish }) => publish({ name: 'x' } as never, {})),
      'MERSAL_INVALID_MESSAGE',
    )
    const wrong = await rejection(
      app.transaction(async (_tx, { publish }) => publish(Place as never, {})),
      'MERSAL_INVALID_MESSAGE',
    )
    expect(wrong.message).toContain('send() it')
  })

  for (const name of ['', ' x', 'a b', 'ä', 'x\n', 'x'.repeat(201), 7 as never]) {
    test(`the message name ${JSON.stringify(name).slice(0, 12)} is refused`, () => {
      expect(() => command(name)).toThrow(
        expect.objectContaining({ code: 'MERSAL_INVALID_MESSAGE' }),
      )
      expect(() => event(name)).toThrow(MersalError)
    })
  }

  test('a schema that is no Standard Schema is refused', () => {
    expect(() => event('x', { parse: () => {} } as never)).toThrow(
      expect.objectContaining({ code: 'MERSAL_INVALID_MESSAGE' }),
    )
  })
})

describe('routing', () => {
  const routes = { 'orders.place': 'orders', 'orders.placed': { transport: 'far' } }

  test('a command goes to its route, an event to its topic, over the transport that the route names', async () => {
    const far = fakeTransport()
    const { app, messages } = setUp({ routes, bridges: { far } })
    await app.transaction(async (_tx, { send, sendLocal, publish }) => {
      await send(Place, { id: 1 })
      await sendLocal(Place, { id: 2 })
      await publish(Placed, { id: 3 })
    })
    expect((await messages()).map(({ to }) => to)).toEqual([
      { transport: 'default', kind: 'queue', name: 'orders' },
      { transport: 'default', kind: 'queue', name: 'shop' },
      { transport: 'far', kind: 'topic', name: 'orders.placed' },
    ])
  })

  test('a command without a route goes to this app if it handles it', async () => {
    const { app, messages } = setUp()
    app.handle(Place, () => {})
    await app.transaction(async (_tx, { send }) => send(Place, { id: 1 }))
    expect((await messages())[0]?.to.name).toBe('shop')
  })

  test('the limit that counts is the one of the transport that is chosen', async () => {
    const far = fakeTransport({ maxMessageBytes: 100_000 })
    const { sendOne } = setUp({ routes, bridges: { far } })
    expect(
      (await sendOne(Placed, { id: 1, text: 'x'.repeat(5000) } as never)).body.byteLength,
    ).toBeGreaterThan(5000)
  })

  test('without owner, without input queue, or an event with a queue: MERSAL_NO_ROUTE', async () => {
    const { app } = setUp()
    const error = await rejection(
      app.transaction(async (_tx, { send }) => send(Place, { id: 1 })),
      'MERSAL_NO_ROUTE',
    )
    expect(error.message).toContain("routes: { 'orders.place'")
    const sendOnly = setUp({ sendOnly: true, routes: { 'orders.placed': 'orders' } })
    await rejection(
      sendOnly.app.transaction(async (_tx, { sendLocal }) => sendLocal(Place, { id: 1 })),
      'MERSAL_NO_ROUTE',
    )
    await rejection(
      sendOnly.app.transaction(async (_tx, { publish }) => publish(Placed, { id: 1 })),
      'MERSAL_NO_ROUTE',
    )
  })
})

describe('direct sends', () => {
  test('app.direct goes past the outbox, also within a transaction that is rolled back', async () => {
    const { app, transport, messages } = setUp()
    const failing = app.transaction(async () => {
      await app.direct.publish(Placed, { id: 1 })
      throw new Error('rolled back')
    })
    await expect(failing).rejects.toThrow('rolled back')
    expect(transport.published).toHaveLength(1)
    expect(await messages()).toEqual([])
  })

  test('an app without a store sends directly', async () => {
    const transport = fakeTransport()
    const app = new Mersal({ name: 'tiny', transport, logger: false })
    const id = await app.publish(Placed, { id: 1 })
    expect(transport.published.map((message) => message.id)).toEqual([id])
    await rejection(
      app.transaction(async () => {}),
      'MERSAL_INVALID_OPTIONS',
    )
    expect(() => app.within(undefined)).toThrow(
      expect.objectContaining({ code: 'MERSAL_INVALID_OPTIONS' }),
    )
  })

  const error = new Error('from the broker')
  const answers: [PublishOutcome, MersalError['code']][] = [
    [{ kind: 'refused', reason: 'unroutable', error, permanent: false }, 'MERSAL_UNROUTABLE'],
    [{ kind: 'refused', reason: 'refused', error, permanent: false }, 'MERSAL_REFUSED'],
    [{ kind: 'refused', reason: 'too-large', error, permanent: true }, 'MERSAL_TOO_LARGE'],
    [{ kind: 'unavailable', error }, 'MERSAL_UNAVAILABLE'],
    [{ kind: 'unknown', error }, 'MERSAL_UNKNOWN_OUTCOME'],
  ]
  for (const [answer, code] of answers) {
    test(`the answer ${JSON.stringify(answer)} throws ${code}`, async () => {
      const { app, transport } = setUp()
      transport.answer = () => answer
      const thrown = await rejection(app.direct.publish(Placed, { id: 1 }), code)
      expect(thrown.cause).toBe(error)
      expect(thrown.details).toMatchObject({
        id: transport.published[0]?.id,
        to: 'default/topic/orders.placed',
      })
    })
  }

  test('it waits for the confirm', async () => {
    const { app, transport } = setUp()
    const confirm = Promise.withResolvers<PublishOutcome>()
    transport.answer = () => confirm.promise
    let sent = false
    const sending = app.direct.publish(Placed, { id: 1 }).then(() => (sent = true))
    await new Promise((resolve) => setImmediate(resolve))
    expect(sent).toBe(false)
    confirm.resolve({ kind: 'confirmed' })
    expect(await sending).toBe(true)
  })

  test('a delay needs the outbox', async () => {
    const { app, transport } = setUp()
    await rejection(app.direct.publish(Placed, { id: 1 }, { delayMs: 5 }), 'MERSAL_INVALID_MESSAGE')
    expect(transport.published).toEqual([])
  })
})
