import { describe, expect, test } from 'vitest'
import { Mersal } from '../../../src/index.ts'
import { idempotency } from '../../../src/http.ts'
import { memoryStore, memoryTransport } from '../../../src/memory.ts'

const appOf = () =>
  new Mersal({ name: 'shop', store: memoryStore(), transport: memoryTransport(), logger: false })
const refused = expect.objectContaining({ code: 'MERSAL_INVALID_OPTIONS' }) as Error
const order = (): Response => Response.json({ order: 1 })
let keys = 0
const post = (body = '{}'): Request =>
  new Request('http://shop.example/orders', {
    method: 'POST',
    body,
    headers: { 'idempotency-key': `"k${++keys}"` },
  })

describe.each(['express', 'fastify', 'hono', 'fetch'] as const)('a route of %s', (framework) => {
  const make = (...given: unknown[]): unknown =>
    (idempotency(appOf())[framework] as (...given: unknown[]) => unknown)(...given)

  test('refuses a misspelt option when it is made: the keys of all would be in one scope', () => {
    expect(() => make(order, { scpoe: () => 'anna' })).toThrow(/did you mean 'scope'/)
    expect(() => make(order, { scope: 'anna' })).toThrow(refused)
    expect(() => make(order, { fingerprint: 'body' })).toThrow(refused)
    expect(() => make(order, null)).toThrow(refused)
  })

  test('refuses what is no handler when it is made', () => {
    expect(() => make()).toThrow(refused)
    expect(() => make({ scope: () => 'anna' })).toThrow(refused)
  })
})

test.each(['etag', [7], ['x tag']])('headers: %j are no names', (headers) => {
  expect(() => idempotency(appOf(), { headers } as never)).toThrow(
    expect.objectContaining({ details: { field: 'idempotency().headers' } }) as Error,
  )
})

describe('a route', () => {
  const fetchWith = (options: object, handler: (request: Request) => unknown = order) =>
    idempotency(appOf()).fetch(handler as typeof order, options)

  test.each([
    ['undefined', () => undefined],
    ['a number', () => 7],
    ['a promise', () => Promise.reject(new Error('nobody looks at this'))],
  ])('whose scope returns %s fails, and puts no key into the scope of all', async (_, scope) => {
    await expect(fetchWith({ scope })(post())).rejects.toMatchObject({
      code: 'MERSAL_ONCE_KEY',
      details: { field: 'once().scope' },
    })
  })

  test('whose fingerprint returns nothing fails: two requests could not be told apart', async () => {
    const route = fetchWith({ fingerprint: () => undefined })
    await expect(route(post())).rejects.toMatchObject({ code: 'MERSAL_INVALID_OPTIONS' })
  })

  test('says that the body of a request was read before, and works with a fingerprint', async () => {
    const request = post()
    await request.text()
    await expect(fetchWith({})(request)).rejects.toMatchObject({ code: 'MERSAL_INVALID_OPTIONS' })
    const other = post()
    await other.text()
    expect((await fetchWith({ fingerprint: () => 'body' })(other)).status).toBe(200)
  })

  test('says that the Response of its handler was read before', async () => {
    const used = fetchWith({}, async () => {
      const response = order()
      await response.text()
      return response
    })
    await expect(used(post())).rejects.toMatchObject({ code: 'MERSAL_INVALID_OPTIONS' })
    const locked = fetchWith({}, () => {
      const response = order()
      response.body!.getReader()
      return response
    })
    await expect(locked(post())).rejects.toMatchObject({ code: 'MERSAL_INVALID_OPTIONS' })
  })
})
