import { describe, expect, test } from 'vitest'
import { event, Mersal, type Store, type Transport } from '../../src/index.ts'
import { memoryNetwork } from '../../src/transports/memory.ts'
import { embeddedPlaces, mysqlPlaces, type OpenPlace, postgresPlaces } from './stores.ts'

const Ordered = event<{ order: string }>('orders.ordered')

const places: Readonly<Record<string, OpenPlace>> = {
  ...embeddedPlaces,
  ...(await postgresPlaces({
    postgres: {},
    // The server may abort any of these; the store runs it again, as the page of once says.
    'postgres, serializable': { isolation: 'serializable', retrySerialization: 100 },
  })),
  ...(await mysqlPlaces({ mysql: {}, 'mysql, repeatable read': { isolation: 'repeatable read' } })),
}

const openApp = (store: Store<unknown>, transport: Transport) =>
  new Mersal({ name: 'shop', store, transport, logger: false, sendOnly: true })

describe.each(Object.entries(places))('once on %s', (_, open) => {
  test('P1 P4: of repeats through two apps, of which the first tries fail, one takes effect and all get its response', async () => {
    await using place = await open()
    const network = memoryNetwork()
    const heard: string[] = []
    await using watch = new Mersal({ name: 'watch', transport: network.transport(), logger: false })
    watch.handle(Ordered, ({ order }) => void heard.push(order))
    await watch.start()
    await using one = openApp(place.store(), network.transport())
    await using two = openApp(place.store(), network.transport())
    await Promise.all([one.start(), two.start()])
    let tries = 0
    const order = (app: typeof one, key: string) =>
      app.once({ key, fingerprint: key, waitMs: 60_000 }, async (_tx, { publish }) => {
        const number = ++tries
        await publish(Ordered, { order: key })
        if (number % 3 === 1) throw new Error('try again')
        return { order: key, number }
      })
    const keys = Array.from({ length: 5 }, (_, index) => `key ${index}`)
    const calls = keys.flatMap((key) =>
      Array.from({ length: 6 }, async (_, index) => {
        const app = index % 2 === 0 ? one : two
        for (;;) {
          try {
            return await order(app, key)
          } catch (error) {
            if ((error as Error).message !== 'try again') throw error
          }
        }
      }),
    )
    const results = await Promise.all(calls)
    for (const key of keys) {
      const mine = results.filter(({ response }) => response.order === key)
      expect(mine).toHaveLength(6)
      expect(new Set(mine.map(({ response }) => response.number)).size).toBe(1)
      expect(mine.filter(({ replayed }) => !replayed)).toHaveLength(1)
    }
    await one.drain()
    await two.drain()
    await expect.poll(() => heard.toSorted()).toEqual(keys)
  })

  test('another fingerprint is refused, another scope is another request', async () => {
    await using place = await open()
    await using app = openApp(place.store(), memoryNetwork().transport())
    const once = (fingerprint: string, scope?: string) =>
      app.once({ key: 'k', fingerprint, ...(scope === undefined ? {} : { scope }) }, async () => 1)
    expect(await once('a')).toEqual({ response: 1, replayed: false })
    expect(await once('a')).toEqual({ response: 1, replayed: true })
    await expect(once('b')).rejects.toMatchObject({
      code: 'MERSAL_ONCE_REUSED',
      details: { key: 'k' },
    })
    expect(await once('b', 'anna')).toEqual({ response: 1, replayed: false })
  })

  test('a lost answer to the commit is resolved by the repeat', async () => {
    await using place = await open()
    const real = place.store()
    let lost: 'nothing' | 'committed' | 'rolled back' = 'nothing'
    const store: Store<unknown> = {
      ...real,
      unitOfWork: async (work, options) => {
        if (lost === 'nothing') return real.unitOfWork(work, options)
        const how = lost
        lost = 'nothing'
        const gone = new Error('the connection broke')
        const failing: typeof work = async (tx, repeat) => {
          const result = await work(tx, repeat)
          if (how === 'rolled back') throw gone
          return result
        }
        await real.unitOfWork(failing, options).catch((error: unknown) => {
          if (error !== gone) throw error
        })
        throw Object.assign(new Error('no answer'), { code: 'MERSAL_COMMIT_UNKNOWN' })
      },
    }
    await using app = openApp(store, memoryNetwork().transport())
    let runs = 0
    const call = (key: string) => app.once({ key }, async () => ++runs)
    await call('warm up')
    lost = 'committed'
    await expect(call('a')).rejects.toMatchObject({ code: 'MERSAL_COMMIT_UNKNOWN' })
    expect(await call('a')).toEqual({ response: 2, replayed: true })
    lost = 'rolled back'
    await expect(call('b')).rejects.toMatchObject({ code: 'MERSAL_COMMIT_UNKNOWN' })
    expect(await call('b')).toEqual({ response: 4, replayed: false })
  })
})
