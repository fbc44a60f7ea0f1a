import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { type MonitorRoute, monitoring } from '../../../src/http.ts'
import type { OutboxStorage } from '../../../src/core/outbox.ts'
import {
  type AppHealth,
  Mersal,
  MersalError,
  type Store,
  event,
  reject,
} from '../../../src/index.ts'
import { memoryStore, memoryTransport } from '../../../src/memory.ts'
import { manualClock } from '../../../src/testing/index.ts'
import { fakeTransport, json } from '../support/fake-transport.ts'
import { openShop } from '../support/shop.ts'

const Placed = event<{ id: number }>('orders.placed')
const secret = 'geheim-7'

/** What a page answers to GET. */
async function get({ fetch }: MonitorRoute): Promise<{ status: number; text: string }> {
  const response = await fetch(new Request('http://here/'))
  return { status: response.status, text: await response.text() }
}

const troubles = ({ parts }: AppHealth) => parts.filter(({ status }) => status !== 'ok')

/** Changes steps of the outbox. `steps` is given those of the store itself. */
function withOutbox<Tx>(
  steps: (own: Pick<OutboxStorage<Tx>, 'claim' | 'settle'>) => Partial<OutboxStorage<Tx>>,
) {
  return (store: Store<Tx>): Store<Tx> => {
    const { outbox } = store
    const claim = outbox.claim.bind(outbox)
    const settle = outbox.settle.bind(outbox)
    return { ...store, outbox: { ...outbox, ...steps({ claim, settle }) } }
  }
}

async function until(isOver: () => Promise<boolean> | boolean): Promise<void> {
  while (!(await isOver())) await turn()
}

describe('app.health()', () => {
  test('says that an app is not ready before its start and after its stop, and why', async () => {
    const { app } = openShop({ outbox: {} })
    const idle = await app.health()
    expect(idle).toMatchObject({ status: 'down', live: true, ready: false })
    expect(idle.parts).toEqual([
      { part: 'app', name: 'shop', status: 'down', reason: 'it has not been started' },
    ])
    await app.start()
    await until(async () => (await app.health()).ready)
    const running = await app.health()
    expect(running).toMatchObject({ status: 'ok', live: true, ready: true })
    expect(running.parts.map(({ part, name }) => [part, name])).toEqual([
      ['app', 'shop'],
      ['store', 'memory'],
      ['relay', 'shop'],
      ['receiving', 'default'],
    ])
    await app.stop()
    expect(await app.health()).toMatchObject({ status: 'down', live: false, ready: false })
  })

  test('P14: is not ready while claims fail, and shows the code of the error alone', async () => {
    let broken = false
    const { app } = openShop({
      outbox: { relay: { pollIntervalMs: 1 } },
      change: withOutbox(({ claim }) => ({
        claim: (request) =>
          broken
            ? Promise.reject(Object.assign(new Error(`password ${secret}`), { code: '28P01' }))
            : claim(request),
      })),
    })
    await app.start()
    await until(async () => (await app.health()).ready)
    broken = true
    app.wake()
    await until(async () => !(await app.health()).ready)
    const away = await app.health()
    expect(troubles(away)).toEqual([
      {
        part: 'store',
        name: 'memory',
        status: 'down',
        reason: 'claims from the outbox fail (28P01)',
      },
    ])
    expect(JSON.stringify(away)).not.toContain(secret)
    broken = false
    await until(async () => (await app.health()).ready)
    await app.stop()
  })

  test('is not ready when the database says nothing at all', async () => {
    const clock = manualClock()
    let frozen = false
    const { app } = openShop({
      clock,
      outbox: {},
      change: withOutbox(({ claim }) => ({
        claim: (request) => (frozen ? new Promise<never>(() => {}) : claim(request)),
      })),
    })
    await app.start()
    await until(async () => (await app.health()).ready)
    frozen = true
    await clock.advance(10_000)
    expect((await app.health()).ready).toBe(true)
    await clock.advance(4000)
    expect(troubles(await app.health())).toMatchObject([
      { part: 'store', reason: 'it has not answered to a claim for 13 s' },
    ])
    const stopped = app.stop({ graceMs: 0 })
    await clock.advance(5000)
    await stopped.catch(() => {})
  })

  test('is not ready when the database never answers to a settlement, and no claim is due', async () => {
    const clock = manualClock()
    const { app, transport } = openShop({
      clock,
      outbox: { relay: { batchSize: 1, window: 1, express: false, claimMs: 3_600_000 } },
      change: withOutbox(() => ({ settle: () => new Promise<never>(() => {}) })),
    })
    await app.start()
    await until(async () => (await app.health()).ready)
    await app.transaction((_, { publish }) => publish(Placed, { id: 1 }))
    await clock.advance(1000)
    expect(transport.published).toHaveLength(1)
    expect((await app.health()).ready).toBe(true)
    await clock.advance(11_000)
    const found = await app.health()
    expect(found).toMatchObject({ live: true, ready: false })
    expect(troubles(found)).toMatchObject([
      { part: 'store', reason: expect.stringMatching(/^it has not answered to a settlement for/) },
    ])
    const stopped = app.stop({ graceMs: 0 }).catch(() => {})
    await clock.advance(5000)
    await stopped
  })

  test('is ready while a broker that says nothing holds all that the relay may have in hand', async () => {
    const clock = manualClock()
    const { app, transport } = openShop({
      clock,
      outbox: { relay: { batchSize: 1, window: 1, express: false, claimMs: 3_600_000 } },
    })
    transport.answer = () => new Promise(() => {})
    await app.start()
    await app.transaction(async (_, { publish }) => {
      for (let id = 0; id < 3; id++) await publish(Placed, { id })
    })
    await clock.advance(600_000)
    expect(transport.published).toHaveLength(1)
    expect(await app.health()).toMatchObject({ ready: true, status: 'ok' })
    const stopped = app.stop({ graceMs: 0 }).catch(() => {})
    await clock.advance(5000)
    await stopped
  })

  test('is not ready while what was published cannot be settled', async () => {
    let broken = true
    const { app } = openShop({
      outbox: { relay: { pollIntervalMs: 1 } },
      change: withOutbox(({ settle }) => ({
        settle: (settlements) => (broken ? Promise.reject(new Error(secret)) : settle(settlements)),
      })),
    })
    await app.start()
    await until(async () => (await app.health()).ready)
    await app.transaction((_, { publish }) => publish(Placed, { id: 1 }))
    await until(async () => !(await app.health()).ready)
    expect(troubles(await app.health())).toMatchObject([
      { part: 'store', reason: 'settling published messages fails' },
    ])
    broken = false
    await until(async () => (await app.health()).ready)
    await app.stop()
  })

  test('asks the database itself where no relay does, at most every five seconds', async () => {
    const clock = manualClock()
    const asked: number[] = []
    let away = false
    const { app } = openShop({
      clock,
      change: (store) => ({
        ...store,
        probe: async () => {
          asked.push(clock.monotonic())
          if (away) throw new Error(`no route to postgres://app:${secret}@db`)
        },
      }),
    })
    await app.start()
    expect((await app.health()).ready).toBe(true)
    expect((await app.health()).ready).toBe(true)
    expect(asked).toHaveLength(1)
    away = true
    await clock.advance(5000)
    const found = await app.health()
    expect(troubles(found)).toMatchObject([{ part: 'store', status: 'down' }])
    expect(JSON.stringify(found)).not.toContain(secret)
    away = false
    await clock.advance(20_000)
    expect((await app.health()).ready).toBe(true)
    await app.stop()
  })

  test('is degraded and ready while a destination does not answer', async () => {
    const { app, transport } = openShop({ outbox: { relay: { pollIntervalMs: 1 } } })
    transport.answer = () => ({ kind: 'unavailable', error: new Error(secret) })
    await app.start()
    await app.transaction(async (_, { publish }) => {
      for (let id = 0; id < 5; id++) await publish(Placed, { id })
    })
    await until(async () => (await app.health()).status === 'degraded')
    const found = await app.health()
    expect(found.ready).toBe(true)
    expect(troubles(found)).toEqual([
      {
        part: 'destination',
        name: 'default/topic/orders.placed',
        status: 'degraded',
        reason: 'it does not answer; its messages wait in the outbox',
      },
    ])
    await app.stop({ graceMs: 0 }).catch(() => {})
  })

  test('is degraded while the app cannot receive yet', async () => {
    const clock = manualClock()
    const { app, transport } = openShop({ clock })
    transport.onCall = () => Promise.reject(new MersalError('MERSAL_UNAVAILABLE', secret))
    await app.start()
    const found = await app.health()
    expect(found).toMatchObject({ status: 'degraded', ready: true })
    expect(troubles(found)).toEqual([
      {
        part: 'receiving',
        name: 'default',
        status: 'degraded',
        reason: 'it cannot receive yet (MERSAL_UNAVAILABLE)',
      },
    ])
    transport.onCall = () => {}
    await clock.advance(5000)
    expect((await app.health()).status).toBe('ok')
    await app.stop()
  })
})

test('app.health() is degraded, live and ready while a consumer has lost its broker, and says so without its secrets', async () => {
  const { app, transport } = openShop()
  app.handle(Placed, () => {})
  await app.start()
  expect((await app.health()).status).toBe('ok')
  transport.trouble('shop', new MersalError('MERSAL_UNAVAILABLE', `no route to amqp://${secret}@b`))
  const found = await app.health()
  expect(found).toMatchObject({ status: 'degraded', live: true, ready: true })
  expect(troubles(found)).toEqual([
    {
      part: 'receiving',
      name: 'default',
      status: 'degraded',
      reason: 'it cannot receive now (MERSAL_UNAVAILABLE)',
    },
  ])
  transport.trouble('shop', undefined)
  expect((await app.health()).status).toBe('ok')
  await app.stop()
})

describe('the pages', () => {
  test('answer over node:http, to GET and HEAD only', async () => {
    const { app } = openShop()
    using pages = monitoring(app)
    const routes: Readonly<Record<string, MonitorRoute>> = {
      '/livez': pages.live,
      '/readyz': pages.ready,
      '/metrics': pages.metrics,
    }
    const server = createServer((request, response) => {
      void routes[request.url ?? '']?.node(request, response)
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const ask = async (path: string, method = 'GET') => {
      const { port } = server.address() as AddressInfo
      const response = await fetch(`http://127.0.0.1:${port}${path}`, { method })
      return [response.status, await response.text(), response.headers.get('content-type')]
    }
    expect(await ask('/livez')).toEqual([200, '{"live":true}\n', 'application/json'])
    expect((await ask('/readyz'))[0]).toBe(503)
    await app.start()
    const [status, text] = await ask('/readyz')
    expect(status).toBe(200)
    expect(JSON.parse(text as string)).toMatchObject({
      ready: true,
      apps: [{ name: 'shop', status: 'ok', parts: [{ part: 'app' }, { part: 'store' }, {}] }],
    })
    expect(await ask('/readyz', 'HEAD')).toEqual([200, '', 'application/json'])
    expect((await ask('/metrics', 'POST'))[0]).toBe(405)
    expect((await ask('/metrics'))[2]).toBe('text/plain; version=0.0.4; charset=utf-8')
    await app.stop()
    expect(await ask('/livez')).toEqual([503, '{"live":false}\n', 'application/json'])
    server.closeAllConnections()
    server.close()
  })

  test('answer web requests', async () => {
    const { app } = openShop()
    using pages = monitoring(app)
    expect(await get(pages.live)).toEqual({ status: 200, text: '{"live":true}\n' })
    const refused = await pages.ready.fetch(new Request('http://here/', { method: 'DELETE' }))
    expect([refused.status, refused.headers.get('allow')]).toEqual([405, 'GET, HEAD'])
    const head = await pages.metrics.fetch(new Request('http://here/', { method: 'HEAD' }))
    expect([head.status, await head.text()]).toEqual([200, ''])
    await app.stop()
  })

  test('count incoming dead letters, and no lag for what is delayed', async () => {
    const app = new Mersal({
      name: 'counted',
      store: memoryStore(),
      transport: memoryTransport(),
      logger: false,
    })
    using pages = monitoring(app)
    app.handle(Placed, ({ id }) => {
      if (id === 2) throw reject(`no ${secret}`)
    })
    await app.start()
    await app.transaction(async (_, { publish }) => {
      await publish(Placed, { id: 1 })
      await publish(Placed, { id: 2 })
      await publish(Placed, { id: 3 }, { delayMs: 3_600_000 })
    })
    await until(async () => (await app.health()).ready)
    await app.drain()
    let text = ''
    await until(async () => {
      text = (await get(pages.metrics)).text
      return text.includes('outcome="rejected"')
    })
    for (const line of [
      'mersal_app_ready{app="counted"} 1',
      'mersal_app_deliveries_total{app="counted",outcome="handled"} 1',
      'mersal_app_deliveries_total{app="counted",outcome="rejected"} 1',
      'mersal_relay_published_total{app="counted",destination="default/topic/orders.placed",outcome="confirmed"} 2',
    ])
      expect(text.split('\n')).toContain(line)
    await app.stop()
    expect((await get(pages.metrics)).text).toContain('mersal_app_live{app="counted"} 0')

    const late = new Mersal({
      name: 'late',
      store: memoryStore(),
      transport: fakeTransport(),
      outbox: { runRelay: false },
      logger: false,
    })
    using lag = monitoring(late)
    await late.start()
    await late.transaction((_, { publish }) => publish(Placed, { id: 3 }, { delayMs: 60_000 }))
    const lines = (await get(lag.metrics)).text.split('\n')
    expect(lines).toContain('mersal_outbox_pending{app="late"} 1')
    expect(lines).toContain('mersal_outbox_behind_seconds{app="late"} 0')
    expect(lines).toContain('mersal_outbox_overdue_seconds{app="late"} 0')
    await late.stop()
  })

  test('tell of the queue of the app, also when another transport fails', async () => {
    const operations = (answer: () => Promise<never>) => ({ queues: answer })
    const { app } = openShop({
      bridges: {
        other: Object.assign(fakeTransport(), {
          operations: operations(() => Promise.reject(new Error(secret))),
        }),
        near: Object.assign(fakeTransport(), {
          operations: {
            queues: () =>
              Promise.resolve([
                { queue: 'shop', dead: 3, waiting: 4 },
                { queue: 'of-others', dead: 1, waiting: 1 },
              ]),
          },
        }),
      },
    })
    using pages = monitoring(app)
    await app.start()
    const { text } = await get(pages.metrics)
    expect(text).toContain('mersal_queue_dead{transport="near",queue="shop"} 3\n')
    expect(text).toContain('mersal_queue_waiting{transport="near",queue="shop"} 4\n')
    for (const hidden of ['of-others', secret]) expect(text).not.toContain(hidden)
    await app.stop()
  })

  test('count all reasons that steps of users have made up as one', async () => {
    const { app, transport } = openShop({
      incoming: [
        {
          name: 'room',
          run: async ({ delivery: { message } }) => ({
            kind: 'reject',
            reason: `no room for ${message.id}` as never,
            error: new Error('no'),
          }),
        },
      ],
    })
    app.handle(Placed, () => {})
    using pages = monitoring(app)
    await app.start()
    for (const id of ['a', 'b', 'c'])
      await transport.deliver('shop', { id, type: Placed.name, body: json({ id: 1 }) })
    const found = (await get(pages.metrics)).text
      .split('\n')
      .filter((line) => line.startsWith('mersal_app_deliveries_total'))
    expect(found).toEqual(['mersal_app_deliveries_total{app="shop",outcome="other"} 3'])
    await app.stop()
  })

  test('write nothing over an answer that somebody else has given meanwhile', async () => {
    const { app } = openShop()
    using pages = monitoring(app)
    const fail = (): never => {
      throw new Error('Cannot set headers after they are sent to the client')
    }
    const response = { statusCode: 503, headersSent: true, setHeader: fail, end: fail }
    await pages.live.node({ method: 'GET' }, response)
    expect(response.statusCode).toBe(503)
    await app.stop()
  })

  test('count nothing of other apps, and nothing after their end', async () => {
    const one = openShop({ name: 'one' })
    const two = openShop({ name: 'two' })
    const pages = monitoring(one.app)
    for (const { app, transport } of [one, two]) {
      app.handle(Placed, () => {})
      await app.start()
      await transport.deliver(app.name, { type: Placed.name, body: json({ id: 1 }) })
    }
    const deliveries = async () =>
      (await get(pages.metrics)).text
        .split('\n')
        .filter((line) => line.startsWith('mersal_app_deliveries_total'))
    const found = await deliveries()
    expect(found).toEqual(['mersal_app_deliveries_total{app="one",outcome="handled"} 1'])
    pages[Symbol.dispose]()
    await one.transport.deliver('one', { type: Placed.name, body: json({ id: 2 }) })
    expect(await deliveries()).toEqual(found)
    await Promise.all([one.app.stop(), two.app.stop()])
  })
})

test.each([[[]], [[{}]], [[{ name: 'shop', state: 'running', health: () => ({}) }]]])(
  'monitoring(...%o) is refused',
  (apps) => {
    expect(() => monitoring(...(apps as never[]))).toThrowError(
      expect.objectContaining({ code: 'MERSAL_INVALID_OPTIONS' }),
    )
  },
)
