import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test, vi } from 'vitest'
import { MersalError, type Store } from '../../../src/index.ts'
import { memoryNetwork, memoryStore } from '../../../src/memory.ts'
import { kill, message, openMemory, save } from './support.ts'

const busy = (): Error => new MersalError('MERSAL_STORE_BUSY', 'counting messages took too long')

/** A store whose outbox is counted so. */
async function openWith(overview: () => Promise<never>) {
  const store = memoryStore() as unknown as Store<never>
  await store.open()
  const operations = { ...store.operations, overview }
  const broker = memoryNetwork().transport()
  await broker.subscribe('orders', ['orders.placed'])
  const opened = await openMemory({
    stores: { main: { ...store, operations } },
    transport: broker,
    queues: ['orders'],
    allow: ['pause'],
  })
  return { ...opened, store, look: async () => (await opened.get('api/overview')).body.sources[0] }
}

test('an outbox that cannot be counted in time is slow, not away, and hides nothing else', async () => {
  const { store, look, get, post } = await openWith(() => Promise.reject(busy()))
  await save(store, message('a'))
  await kill(store)
  await post('api/pauses', { source: 'main', kind: 'key', name: 'k', reason: 'the bank' })
  const found = await look()
  expect(found.trouble).toMatchObject({
    kind: 'slow',
    text: 'The database did not answer in time: it is busy, or locked.',
  })
  expect(found).toMatchObject({ counts: null, seenAt: null, pauses: [{ reason: 'the bank' }] })
  expect(found.queues).toMatchObject([{ queue: 'orders', dead: 0 }])
  expect((await get('api/dead?source=main')).body.letters).toHaveLength(1)
})

test('pauses that cannot be read are told, and the last ones stay', async () => {
  const store = memoryStore() as unknown as Store<never>
  await store.open()
  const pauses = store.operations!.pauses!
  let denied = false
  const list = () => (denied ? Promise.reject(new Error('permission denied')) : pauses.list())
  const operations = { ...store.operations, pauses: { ...pauses, list } }
  const { get, post } = await openMemory({
    stores: { main: { ...store, operations } },
    allow: ['pause'],
  })
  const look = async () => (await get('api/overview')).body.sources[0]
  await post('api/pauses', { source: 'main', kind: 'key', name: 'k', reason: 'the bank' })
  expect(await look()).toMatchObject({ trouble: null, pauses: [{ reason: 'the bank' }] })
  denied = true
  await expect.poll(look, { timeout: 5000 }).toMatchObject({
    trouble: { kind: 'away', text: 'It does not answer as it should (an error without a code).' },
    pauses: [{ reason: 'the bank' }],
    counts: { pending: 0 },
  })
  denied = false
  await expect.poll(async () => (await look()).trouble, { timeout: 5000 }).toBeNull()
})

test('a count that takes long and fails is not begun again at once', async () => {
  let begun = 0
  const { look } = await openWith(async () => {
    begun++
    await sleep(400)
    throw busy()
  })
  const until = performance.now() + 3000
  while (performance.now() < until) await look()
  // A tenth of the time: the next one comes 3.6 s after the first one.
  expect(begun).toBe(1)
})

test('a call that meets a lock is told that the database is busy', async () => {
  const store = memoryStore()
  const list = vi.fn(() => Promise.reject(busy()))
  const deadLetters = { ...store.admin.deadLetters, list }
  const { get } = await openMemory({
    stores: { main: { ...store, admin: { ...store.admin, deadLetters } } },
    logger: false,
  })
  const { status, body, headers } = await get('api/dead?source=main')
  expect([status, body.code, headers.get('retry-after')]).toEqual([503, 'busy', '2'])
})

test('of a broker that is away, its dead letters are those that were seen last', async () => {
  const broker = memoryNetwork().transport()
  await broker.subscribe('orders', ['orders.placed'])
  let away = false
  const queues: typeof broker.operations.queues = async (asked) => {
    if (away) {
      await sleep(2000)
      throw new Error('no connection')
    }
    const found = await broker.operations.queues(asked)
    return found.map((one) => ({ ...one, dead: 3 }))
  }
  const operations = { ...broker.operations, queues }
  const { get } = await openMemory({ transport: { ...broker, operations }, queues: ['orders'] })
  const look = async () => (await get('api/overview')).body.sources[0]
  expect(await look()).toMatchObject({ queues: [{ dead: 3 }], queueTroubles: [] })
  away = true
  await expect.poll(async () => (await look()).queueTroubles, { timeout: 20_000 }).toHaveLength(1)
  expect((await look()).queues).toMatchObject([{ queue: 'orders', dead: 3 }])
  // It is asked again soon, however long it has not answered.
  away = false
  await expect.poll(async () => (await look()).queueTroubles, { timeout: 8000 }).toEqual([])
})
