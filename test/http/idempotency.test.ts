import { describe, expect, test } from 'vitest'
import { event, Mersal } from '../../src/index.ts'
import { idempotency, type IdempotencyOptions } from '../../src/http.ts'
import { memoryDatabase, memoryStore, type MemoryTransaction } from '../../src/memory.ts'
import { memoryNetwork } from '../../src/transports/memory.ts'
import { type Order, servers, type TestServer } from './servers.ts'

const Ordered = event<{ order: number }>('orders.ordered')

type Tx = MemoryTransaction

interface Bench extends AsyncDisposable {
  readonly server: TestServer
  readonly orders: () => Promise<number>
  post(given?: Given): Promise<Answer>
}

interface Given {
  readonly key?: string
  readonly body?: string | Uint8Array<ArrayBuffer>
  readonly type?: string
  readonly user?: string
}

interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly body: string
}

async function openBench(
  open: (typeof servers)[string],
  order: Order<Tx>,
  options?: IdempotencyOptions,
): Promise<Bench> {
  const database = memoryDatabase()
  const app = new Mersal<Tx>({
    name: 'shop',
    store: memoryStore({ database }),
    transport: memoryNetwork().transport(),
    logger: false,
    sendOnly: true,
  })
  await app.start()
  const server = await open(app, order, options)
  return {
    server,
    orders: () => app.transaction((tx) => Promise.resolve(tx.entries('order ').length)),
    async post({ key, body = '{"sku":1}', type = 'application/json', user = 'anna' } = {}) {
      const headers = { 'content-type': type, 'x-user': user }
      const response = await fetch(`${server.url}/orders?x=1`, {
        method: 'POST',
        body,
        headers: key === undefined ? headers : { ...headers, 'idempotency-key': key },
      })
      const bytes = Buffer.from(await response.arrayBuffer())
      return { status: response.status, headers: response.headers, body: bytes.toString('latin1') }
    },
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]()
      await app.stop()
    },
  }
}

let numbers = 0

/** Writes a row, publishes a message, and answers with a number of its own. */
const place: Order<Tx> = async (body, tx, { publish }) => {
  const order = ++numbers
  tx.set(`order ${order}`, body ?? null)
  await publish(Ordered, { order })
  return new Response(`{"order": ${order},  "spaces": "kept ä"}`, {
    status: 201,
    headers: [
      ['content-type', 'application/json'],
      ['location', `/orders/${order}`],
      ['x-cost', '7'],
      ['set-cookie', 'session=1'],
      ['set-cookie', 'other=2'],
    ],
  })
}

describe.each(Object.entries(servers))('Idempotency-Key on %s', (_, open) => {
  test('a repeat gets status, headers and body byte for byte, and nothing happens', async () => {
    await using bench = await openBench(open, place)
    const first = await bench.post({ key: '"k1"' })
    expect(first.status).toBe(201)
    expect(first.headers.get('location')).toMatch(/^\/orders\/\d+$/)
    expect(first.headers.getSetCookie()).toEqual(['session=1', 'other=2'])
    expect(first.headers.get('idempotent-replayed')).toBeNull()
    const again = await bench.post({ key: '"k1"' })
    expect(again.status).toBe(201)
    expect(again.body).toBe(first.body)
    for (const name of ['content-type', 'location', 'x-cost', 'content-length'])
      expect(again.headers.get(name), name).toBe(first.headers.get(name))
    expect(again.headers.getSetCookie()).toEqual([])
    expect(again.headers.get('idempotent-replayed')).toBe('true')
    expect(await bench.orders()).toBe(1)
  })

  test('bytes that are no text come back as they were, and so does an answer without a body', async () => {
    const bytes = Uint8Array.from({ length: 256 }, (_, index) => index)
    let next: Response
    await using bench = await openBench(open, () => Promise.resolve(next))
    next = new Response(bytes, { headers: { 'content-type': 'image/png' } })
    const first = await bench.post({ key: '"bytes"' })
    expect(first.body).toBe(Buffer.from(bytes).toString('latin1'))
    expect((await bench.post({ key: '"bytes"' })).body).toBe(first.body)
    next = new Response(null, { status: 204 })
    expect(await bench.post({ key: '"none"' })).toMatchObject({ status: 204, body: '' })
    next = new Response('never', { status: 200 })
    expect(await bench.post({ key: '"none"' })).toMatchObject({ status: 204, body: '' })
  })

  test('another body, path or scope under the same key is told apart', async () => {
    await using bench = await openBench(open, place)
    await bench.post({ key: '"k"' })
    const other = await bench.post({ key: '"k"', body: '{"sku":2}' })
    expect(other.status).toBe(422)
    expect(other.headers.get('content-type')).toMatch(/^application\/problem\+json/)
    expect(JSON.parse(other.body)).toMatchObject({ status: 422, code: 'MERSAL_ONCE_REUSED' })
    const octets = { type: 'application/octet-stream', key: '"octets"' }
    expect((await bench.post({ ...octets, body: Uint8Array.of(1, 2) })).status).toBe(201)
    expect((await bench.post({ ...octets, body: Uint8Array.of(1, 2) })).status).toBe(201)
    expect((await bench.post({ ...octets, body: Uint8Array.of(1, 3) })).status).toBe(422)
    expect((await bench.post({ key: '"k"', user: 'bert' })).status).toBe(201)
    expect(await bench.orders()).toBe(3)
  })

  test('a missing key, a malformed one and one that is too long are refused', async () => {
    await using bench = await openBench(open, place, { documentation: 'https://shop.test/keys' })
    for (const key of [undefined, 'no-quotes', '"a', '""', `"${'x'.repeat(256)}"`]) {
      const answer = await bench.post(key === undefined ? {} : { key })
      expect(answer.status, String(key)).toBe(400)
      expect(answer.headers.get('link')).toContain('<https://shop.test/keys>')
      expect(JSON.parse(answer.body)).toMatchObject({ type: 'https://shop.test/keys', status: 400 })
    }
    expect(await bench.orders()).toBe(0)
  })

  test('a key that is not required may be left out', async () => {
    await using bench = await openBench(open, place, { required: false, unquotedKeys: true })
    expect((await bench.post()).status).toBe(201)
    expect((await bench.post()).status).toBe(201)
    expect((await bench.post({ key: 'bare' })).status).toBe(201)
    expect((await bench.post({ key: '"bare"' })).headers.get('idempotent-replayed')).toBe('true')
    expect(await bench.orders()).toBe(3)
  })

  test('ten repeats at once have one effect: those that may not wait get 409, the others the answer', async () => {
    for (const waitMs of [0, 10_000]) {
      const held = Promise.withResolvers<void>()
      const slow: Order<Tx> = async (...given) => {
        await held.promise
        return place(...given)
      }
      await using bench = await openBench(open, slow, { waitMs })
      const all = Array.from({ length: 10 }, () => bench.post({ key: '"same"' }))
      if (waitMs === 0) {
        // The others have their answers while the first one still runs.
        const early = await Promise.all(all.map((one) => Promise.race([one, later(1500)])))
        const conflicts = early.filter((answer) => answer !== undefined)
        expect(conflicts).toHaveLength(9)
        for (const { status, headers, body } of conflicts) {
          expect(status).toBe(409)
          expect(headers.get('retry-after')).toBe('1')
          expect(JSON.parse(body)).toMatchObject({ code: 'MERSAL_ONCE_RUNNING' })
        }
      }
      held.resolve()
      const answers = await Promise.all(all)
      const good = answers.filter(({ status }) => status === 201)
      expect(good).toHaveLength(waitMs === 0 ? 1 : 10)
      expect(new Set(good.map(({ body }) => body)).size).toBe(1)
      expect(await bench.orders()).toBe(1)
    }
  })

  test('what fails is rolled back and runs again: an error, and an answer of 500', async () => {
    let mode: 'throw' | 'refuse' | 'decline' = 'throw'
    const failing: Order<Tx> = async (...given) => {
      const answer = await place(...given)
      if (mode === 'throw') throw new Error('the handler broke')
      return mode === 'refuse' ? new Response('away', { status: 503 }) : answer
    }
    await using bench = await openBench(open, failing)
    expect((await bench.post({ key: '"f"' })).status).toBe(500)
    mode = 'refuse'
    expect(await bench.post({ key: '"f"' })).toMatchObject({ status: 503, body: 'away' })
    expect(await bench.orders()).toBe(0)
    mode = 'decline'
    expect((await bench.post({ key: '"f"' })).status).toBe(201)
    expect(await bench.orders()).toBe(1)
  })

  test('a handler that returns no Response fails, and nothing is kept', async () => {
    await using bench = await openBench(open, (async (_body: unknown, tx: Tx) => {
      tx.set('order x', 1)
      return { order: 1 }
    }) as unknown as Order<Tx>)
    expect((await bench.post({ key: '"n"' })).status).toBe(500)
    expect(await bench.orders()).toBe(0)
  })
})

const later = (ms: number): Promise<undefined> =>
  new Promise((resolve) => void setTimeout(() => resolve(undefined), ms))

test('a body that no parser has read is refused, since it could not be compared', async () => {
  await using bench = await openBench(servers['Express 5'] as (typeof servers)[string], place)
  const answer = await bench.post({ key: '"t"', body: 'text', type: 'text/plain' })
  expect(answer.status).toBe(500)
  expect(answer.body).toContain('put a parser such as express.json() before the handler')
  expect(await bench.orders()).toBe(0)
})

test('a handler of web requests needs no framework', async () => {
  const app = new Mersal<Tx>({
    name: 'shop',
    store: memoryStore(),
    transport: memoryNetwork().transport(),
    logger: false,
  })
  const route = idempotency(app).fetch(async (request, tx, sender) =>
    place(await request.json(), tx, sender),
  )
  const request = (body: string) =>
    new Request('http://shop.test/orders', {
      method: 'POST',
      body,
      headers: { 'idempotency-key': '"web"' },
    })
  const first = await route(request('{"sku":1}'))
  const again = await route(request('{"sku":1}'))
  expect([first.status, again.status]).toEqual([201, 201])
  expect(await again.text()).toBe(await first.text())
  expect((await route(request('{"sku":2}'))).status).toBe(422)
  await app.stop()
})

test('options that could not work are refused', () => {
  const app = { once: () => {}, transaction: () => {} } as never
  for (const [field, options] of [
    ['idempotency().documentation', { documentation: 'javascript:alert(1)' }],
    ['idempotency().headers', { headers: 'location' }],
    ['idempotency().required', { required: 'yes' }],
    ['idempotency().wait', { wait: 1 }],
  ] as const)
    expect(() => idempotency(app, options as never)).toThrow(
      expect.objectContaining({ code: 'MERSAL_INVALID_OPTIONS', details: { field } }),
    )
  expect(() => idempotency({} as never)).toThrow(/idempotency\(\)\.app/)
})
