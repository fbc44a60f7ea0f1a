import { once } from 'node:events'
import { request as ask, type IncomingMessage } from 'node:http'
import type { DatabaseSync } from 'node:sqlite'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import { describe, expect, test } from 'vitest'
import { mersal, type MersalOfServer, type OnceOfReply } from '../../src/fastify/index.ts'
import { event, Mersal, type MersalOptions } from '../../src/index.ts'
import { sqlite, sqliteQueue } from '../../src/sqlite.ts'
import { temporaryFolder } from '../contract/sqlite-harness.ts'

declare module 'fastify' {
  interface FastifyInstance extends MersalOfServer<DatabaseSync> {}
  interface FastifyReply extends OnceOfReply<DatabaseSync> {}
}

const Ordered = event<{ sku: number }>('orders.ordered')

function openShop(more: Partial<MersalOptions<DatabaseSync>> = {}) {
  const folder = temporaryFolder()
  const app = new Mersal<DatabaseSync>({
    name: 'shop',
    store: sqlite({ path: folder.file('shop.db') }),
    transport: sqliteQueue({ path: folder.file('broker.db') }),
    logger: false,
    sendOnly: true,
    ...more,
  })
  return { app, folder, [Symbol.dispose]: () => folder[Symbol.dispose]() }
}

/** An app that hears what arrives at the broker. */
async function listen(path: string) {
  const heard: number[] = []
  const watch = new Mersal({ name: 'watch', transport: sqliteQueue({ path }), logger: false })
  watch.handle(Ordered, ({ sku }) => void heard.push(sku))
  await watch.start()
  return { heard, [Symbol.asyncDispose]: () => watch.stop() }
}

const listening = async (web: FastifyInstance): Promise<string> =>
  web.listen({ port: 0, host: '127.0.0.1' })

const post = (url: string, sku: number, headers: Record<string, string> = {}): Promise<Response> =>
  fetch(`${url}/orders`, {
    method: 'POST',
    body: JSON.stringify({ sku }),
    headers: { 'content-type': 'application/json', ...headers },
  })

describe('mersal/fastify', () => {
  test('starts the app before the server listens, and stops it after the last request and before what was registered earlier', async () => {
    using shop = openShop()
    await using watch = await listen(shop.folder.file('broker.db'))
    // The client keeps its connection, and Fastify waits for it: for 72 s by itself.
    const web = Fastify({ keepAliveTimeout: 100 })
    const steps: string[] = []
    web.addHook('onClose', async () => void steps.push(`earlier plugin: ${shop.app.state}`))
    await web.register(mersal, { app: shop.app })
    web.addHook('onClose', async () => void steps.push(`later plugin: ${shop.app.state}`))
    const began = Promise.withResolvers<void>()
    const goOn = Promise.withResolvers<void>()
    web.post('/orders', async ({ body }, reply) => {
      const { sku } = body as { sku: number }
      began.resolve()
      await goOn.promise
      await web.mersal.transaction(async (_tx, { publish }) => publish(Ordered, { sku }))
      steps.push(`request: ${shop.app.state}`)
      return reply.code(201).send({ sku })
    })
    expect(shop.app.state).toBe('idle')
    const url = await listening(web)
    expect(shop.app.state).toBe('running')
    const answer = post(url, 7)
    await began.promise
    const closed = web.close()
    goOn.resolve()
    expect((await answer).status).toBe(201)
    await closed
    expect(shop.app.state).toBe('stopped')
    expect(steps).toEqual(['request: running', 'later plugin: running', 'earlier plugin: stopped'])
    await expect.poll(() => watch.heard).toEqual([7])
  })

  test('an app that cannot start fails the start of the server, with its error', async () => {
    using shop = openShop({ onStart: [() => Promise.reject(new Error('no licence'))] })
    const web = Fastify()
    await web.register(mersal, { app: shop.app })
    await expect(listening(web)).rejects.toThrow('no licence')
    await web.close()
    expect(shop.app.state).toBe('stopped')
  })

  test('start: false leaves the start to others, and drainMs publishes what waits at the end', async () => {
    using shop = openShop({ outbox: { runRelay: false } })
    await using watch = await listen(shop.folder.file('broker.db'))
    const web = Fastify()
    await web.register(mersal, { app: shop.app, start: false, drainMs: 20_000 })
    await web.ready()
    expect(shop.app.state).toBe('idle')
    await shop.app.transaction(async (_tx, { publish }) => publish(Ordered, { sku: 1 }))
    await web.close()
    expect(shop.app.state).toBe('stopped')
    await expect.poll(() => watch.heard).toEqual([1])
  })

  test('reply.once takes effect once for each key and scope', async () => {
    using shop = openShop()
    const web = Fastify()
    await web.register(mersal, {
      app: shop.app,
      idempotency: {
        scope: ({ headers }: FastifyRequest) => String(headers['x-user'] ?? 'nobody'),
      },
    })
    let orders = 0
    // Also in a plugin with a scope of its own.
    await web.register(async (inner) => {
      inner.post('/orders', async (request, reply) =>
        reply.once(async (_tx, { publish }) => {
          const { sku } = request.body as { sku: number }
          await publish(Ordered, { sku })
          return Response.json({ order: ++orders }, { status: 201 })
        }),
      )
    })
    const url = await listening(web)
    const key = { 'idempotency-key': '"one"' }
    expect(await (await post(url, 1, key)).json()).toEqual({ order: 1 })
    const repeat = await post(url, 1, key)
    expect([repeat.status, repeat.headers.get('idempotent-replayed')]).toEqual([201, 'true'])
    expect(await repeat.json()).toEqual({ order: 1 })
    expect((await post(url, 2, key)).status).toBe(422)
    expect((await post(url, 1)).status).toBe(400)
    expect(await (await post(url, 1, { ...key, 'x-user': 'anna' })).json()).toEqual({ order: 2 })
    await web.close()
  })

  test('routes of health and metrics are there if asked for, and nowhere else', async () => {
    using shop = openShop()
    const web = Fastify()
    await web.register(mersal, { app: shop.app, health: { ready: '/up' }, metrics: true })
    const url = await listening(web)
    const of = async (path: string) => (await fetch(`${url}${path}`)).status
    expect(await Promise.all(['/healthz', '/up', '/metrics', '/readyz'].map(of))).toEqual([
      200, 200, 200, 404,
    ])
    expect((await fetch(`${url}/up`, { method: 'HEAD' })).status).toBe(200)
    expect(await (await fetch(`${url}/metrics`)).text()).toContain('mersal_')
    await shop.app.stop()
    expect(await Promise.all(['/healthz', '/up'].map(of))).toEqual([503, 503])
    await web.close()
    using bare = openShop()
    const other = Fastify()
    await other.register(mersal, { app: bare.app })
    expect((await other.inject('/healthz')).statusCode).toBe(404)
    await other.close()
  })

  test('the dashboard is at its path, with its rights, and an open page does not hold up the end', async () => {
    using shop = openShop()
    const token = 'a-token-of-this-test'
    const web = Fastify()
    await web.register(mersal, { app: shop.app, dashboard: { path: '/admin/mersal/', token } })
    const url = await listening(web)
    const get = (path: string, headers: Record<string, string> = {}) =>
      fetch(`${url}/admin/mersal${path}`, { headers, redirect: 'manual' })
    expect((await get('/api/overview')).status).toBe(401)
    const authorization = `Bearer ${token}`
    const overview = await get('/api/overview', { authorization })
    expect(overview.status).toBe(200)
    expect((await fetch(`${url}/admin/mersalfoo`)).status).toBe(404)
    const live = ask(`${url}/admin/mersal/api/live`, { headers: { authorization } }).end()
    const [opened] = (await once(live, 'response')) as [IncomingMessage]
    expect(opened.statusCode).toBe(200)
    opened.resume()
    await Promise.all([web.close(), once(opened, 'close')])
    expect(shop.app.state).toBe('stopped')
  })

  test('runs several apps, each under its name', async () => {
    using shop = openShop()
    using billing = openShop({ name: 'billing' })
    const web = Fastify()
    await web.register(mersal, { app: shop.app })
    await web.register(mersal, { app: billing.app, decorator: 'billing', idempotency: false })
    await web.ready()
    expect([shop.app.state, billing.app.state]).toEqual(['running', 'running'])
    expect((web as unknown as { billing: unknown }).billing).toBe(billing.app)
    await web.close()
    expect([shop.app.state, billing.app.state]).toEqual(['stopped', 'stopped'])
  })

  test.each([
    ['app', { app: {} }],
    ['app', { app: undefined }],
    ['decorator', { decorator: 'a b' }],
    ['start', { start: 'yes' }],
    ['drainMs', { drainMs: -1 }],
    ['drainMs', { drainMs: Number.NaN }],
    ['health', { health: 'healthz' }],
    ['health.live', { health: { live: 'healthz' } }],
    ['metrics', { metrics: '/metrics?a' }],
    ['idempotency', { idempotency: true }],
    ['idempotency.scope', { idempotency: { scope: 'anna' } }],
    ['dashboard.path', { dashboard: { token: 'a-token-of-this-test' } }],
    ['dashboard.path', { dashboard: { path: '/', token: 'a-token-of-this-test' } }],
  ])('a wrong %s is refused by its name', async (field, wrong) => {
    using shop = openShop()
    const web = Fastify()
    const given = { app: shop.app, ...wrong } as never
    await expect(async () => web.register(mersal, given)).rejects.toMatchObject({
      code: 'MERSAL_INVALID_OPTIONS',
      message: expect.stringContaining(
        field === 'health' ? 'mersal/fastify.health' : `mersal/fastify.${field}: expected`,
      ),
    })
    await web.close()
  })
})
