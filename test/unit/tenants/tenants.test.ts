import { expect, test, vi } from 'vitest'
import { command, Mersal } from '../../../src/index.ts'
import { memoryStore } from '../../../src/memory.ts'
import { openScene, Order, Placed, type Scene } from './support.ts'

const until = (check: () => void | Promise<void>): Promise<void> =>
  vi.waitFor(check, { timeout: 200_000 })

/** What another app of the network sends to the queue of the tenants. */
async function send(
  { network }: Scene,
  headers: Record<string, string>,
  item: string,
): Promise<void> {
  await using other = new Mersal({
    name: 'other',
    transport: network.transport(),
    routes: { [Order.name]: 'orders' },
    sendOnly: true,
    logger: false,
  })
  await other.start()
  await other.direct.send(Order, { item }, { headers })
}

const dead = async ({ network }: Scene) => network.deadLetters.list()

test('a message is handled in the database of its tenant, and so is what follows from it', async () => {
  const scene = openScene()
  const { tenants, databases, handled } = scene
  await using _ = tenants
  await tenants.start()
  const acme = await tenants.get('acme')
  await acme.transaction(async (tx, { send: post }) => {
    tx.set('own', 'acme')
    await post(Order, { item: 'anvil' })
  })
  await (await tenants.get('globex')).transaction((_tx, { send: post }) =>
    post(Order, { item: 'rope' }),
  )
  await until(() =>
    expect(handled.toSorted()).toEqual([
      'acme:anvil',
      'acme:anvil placed',
      'globex:rope',
      'globex:rope placed',
    ]),
  )
  expect([...databases.keys()]).toEqual(['acme', 'globex'])
  expect(await dead(scene)).toEqual([])
})

test('a message of another app is handled by its header, and each other header is refused', async () => {
  const scene = openScene()
  await using _ = scene.tenants
  await scene.tenants.start()
  await send(scene, { tenant: 'globex' }, 'rope')
  await send(scene, { tenant: 'Globex' }, 'other case')
  await send(scene, { tenant: '../acme' }, 'path')
  await send(scene, {}, 'nobody')
  await until(() => expect(scene.handled).toContain('globex:rope'))
  await until(async () => expect(await dead(scene)).toHaveLength(3))
  const letters = await dead(scene)
  expect(letters.map(({ reason }) => reason)).toEqual(Array(3).fill('unknown-tenant'))
  expect(letters.map(({ error }) => error)).toEqual([
    expect.stringContaining("the tenant 'Globex', which this app does not have"),
    expect.stringContaining("the tenant '../acme'"),
    expect.stringContaining("without the header 'tenant'"),
  ])
  expect(scene.handled.filter((one) => one.startsWith('acme'))).toEqual([])
})

test('an app of a tenant sends for no other one, and takes nothing of it', async () => {
  const { tenants } = openScene()
  await using _ = tenants
  await tenants.start()
  const acme = await tenants.get('acme')
  const options = { headers: { Tenant: 'globex' } }
  await expect(
    acme.transaction((_tx, { publish }) => publish(Placed, { item: 'x' }, options)),
  ).rejects.toMatchObject({
    code: 'MERSAL_INVALID_MESSAGE',
    details: { field: "headers['tenant']" },
  })
  await acme.transaction((_tx, { publish }) =>
    publish(Placed, { item: 'x' }, { headers: { tenant: 'acme' } }),
  )
})

test('an outgoing step cannot change the tenant', async () => {
  const { tenants } = openScene({
    outgoing: [
      {
        name: 'mix up',
        run: (context, next) => {
          context.headers['tenant'] = 'globex'
          return next()
        },
      },
    ],
  })
  await using _ = tenants
  await tenants.start()
  const acme = await tenants.get('acme')
  await expect(acme.direct.publish(Placed, { item: 'x' })).rejects.toMatchObject({
    code: 'MERSAL_INVALID_MESSAGE',
  })
})

test('tenantOf names the tenant of a foreign message, and one that throws makes a dead letter', async () => {
  const scene = openScene({
    tenantOf({ headers }) {
      if (headers['x-shop'] === undefined) throw new Error('no shop')
      return headers['x-shop']
    },
  })
  await using _ = scene.tenants
  await scene.tenants.start()
  await send(scene, { 'x-shop': 'acme' }, 'anvil')
  await send(scene, {}, 'nobody')
  await until(() => expect(scene.handled).toContain('acme:anvil placed'))
  await until(async () =>
    expect(await dead(scene)).toEqual([expect.objectContaining({ reason: 'unknown-tenant' })]),
  )
})

test.each([undefined, '', '.', '..', 'a/b', 'a\\b', 'a b', 'ä', 'x'.repeat(101), 7, null])(
  'no tenant is called %j',
  async (name) => {
    const { tenants } = openScene()
    await using _ = tenants
    await tenants.start()
    const given = name as string
    for (const [field, call] of [
      ['get().tenant', () => tenants.get(given)],
      ['add().tenant', () => tenants.add(given)],
      ['remove().tenant', () => tenants.remove(given)],
    ] as const)
      await expect(call()).rejects.toMatchObject({
        code: 'MERSAL_INVALID_OPTIONS',
        message: expect.stringContaining('1 to 100 letters'),
        details: { field },
      })
    expect(() => openScene({ tenants: ['acme', given] })).toThrow(
      expect.objectContaining({ code: 'MERSAL_INVALID_OPTIONS', details: { field: 'tenants[1]' } }),
    )
  },
)

test('names that differ only in case are refused, and so is a tenant that there is not', async () => {
  expect(() => openScene({ tenants: ['acme', 'Acme'] })).toThrow(/differs from 'acme' only in case/)
  const { tenants } = openScene()
  await using _ = tenants
  await tenants.start()
  await expect(tenants.add('GLOBEX')).rejects.toMatchObject({ details: { field: 'tenants[2]' } })
  await expect(tenants.get('initech')).rejects.toMatchObject({
    code: 'MERSAL_UNKNOWN_TENANT',
    details: { tenant: 'initech' },
  })
})

test('a tenant is added and removed while the others work; nothing of it is lost', async () => {
  const scene = openScene()
  const { tenants, handled } = scene
  await using _ = tenants
  await tenants.start()
  await tenants.add('initech')
  expect(tenants.list()).toEqual(
    ['acme', 'globex', 'initech'].map((name) => ({ name, state: 'open' })),
  )
  await send(scene, { tenant: 'initech' }, 'stapler')
  await until(() => expect(handled).toContain('initech:stapler placed'))

  const initech = await tenants.get('initech')
  expect(await tenants.remove('initech')).toBe(true)
  expect(await tenants.remove('initech')).toBe(false)
  expect(initech.state).toBe('stopped')
  await expect(tenants.get('initech')).rejects.toMatchObject({ code: 'MERSAL_UNKNOWN_TENANT' })
  await send(scene, { tenant: 'initech' }, 'late')
  await until(async () => expect(await dead(scene)).toHaveLength(1))

  await tenants.add('initech')
  const [letter] = await dead(scene)
  expect(await scene.network.deadLetters.retry([letter!.key])).toBe(1)
  await until(() => expect(handled).toContain('initech:late placed'))
})

test('a removed tenant keeps what it had not published, and publishes it when it comes back', async () => {
  const scene = openScene({ outbox: { runRelay: false } })
  const { tenants, handled, databases } = scene
  await tenants.start()
  const acme = await tenants.get('acme')
  await acme.transaction((_tx, { send: post }) => post(Order, { item: 'kept' }))
  await tenants.remove('acme')
  await tenants.stop()
  expect(handled).toEqual([])

  const again = openScene()
  for (const [name, database] of databases) again.databases.set(name, database)
  await using _ = again.tenants
  await again.tenants.start()
  await until(() => expect(again.handled).toContain('acme:kept placed'))
})

test('what a function lists is followed, and a name that it has just learnt is not unknown', async () => {
  const names = ['acme']
  const scene = openScene({ tenants: () => names, refreshMs: 60_000 })
  const { tenants, handled } = scene
  await using _ = tenants
  await tenants.start()
  names.push('globex')
  await send(scene, { tenant: 'globex' }, 'rope')
  await until(() => expect(handled).toContain('globex:rope placed'))
  expect(await dead(scene)).toEqual([])
  names.splice(0, 1)
  await tenants.refresh()
  await until(() => expect(tenants.list()).toEqual([{ name: 'globex', state: 'open' }]))
  await expect(tenants.add('initech')).rejects.toMatchObject({ code: 'MERSAL_INVALID_OPTIONS' })
  await expect(tenants.remove('globex')).rejects.toThrow('call refresh()')
})

test('a name that no function lists becomes a dead letter; while it cannot list, messages wait', async () => {
  let broken = false
  const scene = openScene({
    tenants() {
      if (broken) throw new Error('the catalogue is away')
      return ['acme']
    },
  })
  await using _ = scene.tenants
  await scene.tenants.start()
  broken = true
  await send(scene, { tenant: 'globex' }, 'rope')
  await send(scene, { tenant: 'acme' }, 'anvil')
  await until(() => expect(scene.handled).toContain('acme:anvil placed'))
  expect(await dead(scene)).toEqual([])
  await expect(scene.tenants.refresh()).rejects.toThrow('the catalogue is away')
  broken = false
  await until(async () => expect(await dead(scene)).toMatchObject([{ reason: 'unknown-tenant' }]))
})

test('two tenants with the very same store are refused', async () => {
  const shared: { store?: object } = {}
  const scene = openScene({
    wrap: (store) => {
      shared.store ??= store
      return shared.store as typeof store
    },
  })
  await using _ = scene.tenants
  await scene.tenants.start()
  const states = await until(() =>
    expect(
      scene.tenants
        .list()
        .map(({ state }) => state)
        .toSorted(),
    ).toEqual(['away', 'open']),
  ).then(() => scene.tenants.list())
  const away = states.find(({ state }) => state === 'away')
  expect(away?.reason).toBe('MERSAL_INVALID_OPTIONS')
  await expect(scene.tenants.get(away!.name)).rejects.toThrow('the very store of')
})

test('what a store does not close is closed after it', async () => {
  const closed: string[] = []
  const { tenants } = openScene({
    store: (tenant) => {
      const store = memoryStore()
      return {
        store: {
          ...store,
          async [Symbol.asyncDispose]() {
            await store[Symbol.asyncDispose]()
            closed.push(`store of ${tenant}`)
          },
        },
        close: () => void closed.push(`pool of ${tenant}`),
      }
    },
  })
  await tenants.start()
  await tenants.remove('acme')
  expect(closed).toEqual(['store of acme', 'pool of acme'])
  await tenants.stop()
  expect(closed.slice(2)).toEqual(['store of globex', 'pool of globex'])
})

test('the options are checked before anything is opened', async () => {
  const refused: readonly (readonly [object, string])[] = [
    [{ store: undefined }, 'store'],
    [{ setUp: 'x' }, 'setUp'],
    [{ tenantOf: 1 }, 'tenantOf'],
    [{ tenants: 'acme' }, 'tenants'],
    [{ tenant: 'acme' }, 'tenant'],
    [{ unitOfWork: () => {} }, 'unitOfWork'],
    [{ concurrency: 3 }, 'concurrency'],
    [{ refreshMs: 1 }, 'refreshMs'],
    [{ transport: undefined }, 'transport'],
    [{ outbox: { storage: {} } }, 'outbox.storage'],
    [{ outbox: { relay: { window: 1 } } }, 'outbox.relay.window'],
    [{ idempotency: { tracker: {} } }, 'idempotency.tracker'],
    [{ receive: { concurrency: 0 } }, 'receive.concurrency'],
    [{ tenats: [] }, 'options.tenats'],
  ]
  for (const [given, field] of refused)
    expect(() => openScene(given), JSON.stringify(given)).toThrow(
      expect.objectContaining({ code: 'MERSAL_INVALID_OPTIONS', details: { field } }),
    )
})

test('before the start and after the stop nothing is handed out', async () => {
  const { tenants } = openScene()
  await expect(tenants.get('acme')).rejects.toThrow('call start() first')
  await tenants.start()
  expect(tenants.state).toBe('running')
  await tenants.stop()
  await tenants.stop()
  expect(tenants.state).toBe('stopped')
  await expect(tenants.get('acme')).rejects.toMatchObject({ code: 'MERSAL_APP_STOPPED' })
  await expect(tenants.start()).rejects.toMatchObject({ code: 'MERSAL_APP_STOPPED' })
})

test('an app with a tenant stands alone as well', async () => {
  const Ping = command<object>('ping')
  const { network } = openScene()
  const seen: unknown[] = []
  await using app = new Mersal({
    name: 'alone',
    tenant: 'acme',
    transport: network.transport(),
    logger: false,
  })
  app.handle(
    Ping,
    (_body, { tenant, message }) => void seen.push([tenant, message.headers['tenant']]),
  )
  await app.start()
  await app.direct.send(Ping, {})
  await until(() => expect(seen).toEqual([['acme', 'acme']]))
  await using stranger = new Mersal({
    name: 'stranger',
    transport: network.transport(),
    routes: { [Ping.name]: 'alone' },
    sendOnly: true,
    logger: false,
  })
  await stranger.start()
  await stranger.direct.send(Ping, {}, { headers: { tenant: 'globex' } })
  await stranger.direct.send(Ping, {})
  await until(async () =>
    expect((await network.deadLetters.list()).map(({ reason }) => reason)).toEqual([
      'unknown-tenant',
      'unknown-tenant',
    ]),
  )
  expect(seen).toHaveLength(1)
  expect(() => new Mersal({ name: 'x', tenant: 'a/b', transport: network.transport() })).toThrow(
    expect.objectContaining({ details: { field: 'tenant' } }),
  )
})

test('a request for a tenant that there is not fails at once, with the reason', async () => {
  const scene = openScene()
  await using _ = scene.tenants
  await scene.tenants.start()
  await using asker = new Mersal({
    name: 'asker',
    transport: scene.network.transport(),
    routes: { [Order.name]: 'orders' },
    sendOnly: true,
    logger: false,
  })
  await asker.start()
  for (const headers of [{}, { tenant: 'umbrella' }, { tenant: '../acme' }])
    await expect(asker.request(Order, { item: 'rope' }, { headers })).rejects.toMatchObject({
      code: 'MERSAL_REQUEST_FAILED',
      details: { reason: 'unknown-tenant' },
    })
})

test('a tenant that is added, removed and added again at once is there', async () => {
  const { tenants } = openScene()
  await using _ = tenants
  await tenants.start()
  const [first, , last] = await Promise.allSettled([
    tenants.add('initech'),
    tenants.remove('initech'),
    tenants.add('initech'),
  ])
  expect(first).toMatchObject({ reason: { code: 'MERSAL_UNKNOWN_TENANT' } })
  expect(last).toMatchObject({ status: 'fulfilled' })
  expect(tenants.list().map(({ name }) => name)).toContain('initech')
})

test('a misspelt field beside a store is refused: what it names would never be closed', async () => {
  const { tenants } = openScene({
    store: () => ({ store: memoryStore(), cloze: () => undefined }) as never,
  })
  await expect(tenants.start()).rejects.toMatchObject({ details: { field: 'store.cloze' } })
})
