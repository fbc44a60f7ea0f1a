import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { command, event, Mersal, saga, type Store, type Transport } from '../../src/index.ts'
import { memoryNetwork } from '../../src/transports/memory.ts'
import { embeddedPlaces, mysqlPlaces, type OpenPlace, postgresPlaces } from './stores.ts'

const Place = command<{ order: string }>('orders.place')
const Placed = event<{ order: string }>('orders.placed')
const Paid = event<{ order: string; amount: number }>('payments.paid')
const Cancelled = event<{ order: string }>('orders.cancelled')

interface State {
  readonly paid: number
  readonly payments: number
}
const Order = saga<State>('order')
/** The last two. */
const neverPaid = (order: string): boolean => Number(order.slice(1)) >= ORDERS - 2
const PRICE = 5
const ORDERS = 12
const PAYMENTS = 5

const places: Readonly<Record<string, OpenPlace>> = {
  ...embeddedPlaces,
  ...(await postgresPlaces({ postgres: {} })),
  ...(await mysqlPlaces({ mysql: {} })),
}

function openApp(store: Store<unknown>, transport: Transport) {
  const app = new Mersal({
    name: 'shop',
    store,
    transport,
    logger: false,
    receive: { backoff: { firstMs: 20, longestMs: 50 }, maxDeliveries: 50 },
  })
  let failing = 0
  app.saga(Order, (on) => {
    on.start(
      Place,
      ({ order }) => order,
      async (before, { order }, { publish, timeout }) => {
        // However slow the machine is, no payment is overtaken.
        timeout('unpaid', neverPaid(order) ? { milliseconds: 200 } : { hours: 1 })
        await publish(Placed, { order })
        return before ?? { paid: 0, payments: 0 }
      },
    )
    on(
      Paid,
      ({ order }) => order,
      (state, { amount }, { cancelTimeout }) => {
        // Every third try fails, after it has begun.
        if (++failing % 3 === 0) throw new Error('try again')
        const paid = state.paid + amount
        if (paid >= PRICE) cancelTimeout('unpaid')
        return { paid, payments: state.payments + 1 }
      },
      { missing: 'retry' },
    )
    on.timeout('unpaid', async (_, { publish, complete, key }) => {
      complete()
      await publish(Cancelled, { order: key })
    })
  })
  return app
}

describe.each(Object.entries(places))('sagas on %s', (name, open) => {
  test('of two apps, messages that come in any order and fail on the way change each instance once, and only unpaid ones end', async () => {
    await using place = await open()
    const network = memoryNetwork()
    const cancelled: string[] = []
    await using watch = new Mersal({ name: 'watch', transport: network.transport(), logger: false })
    watch.handle(Cancelled, ({ order }) => void cancelled.push(order))
    await watch.start()
    const stores = [place.store(), place.store()]
    const apps = stores.map((store) => openApp(store, network.transport()))
    for (const app of apps) await app.start()
    const [first, second] = apps as [Mersal<unknown>, Mersal<unknown>]
    const orders = Array.from({ length: ORDERS }, (_, number) => `o${number}`)
    await Promise.all(
      orders.flatMap((order) => [
        first.direct.sendLocal(Place, { order }),
        ...(!neverPaid(order)
          ? Array.from({ length: PAYMENTS }, () =>
              second.direct.publish(Paid, { order, amount: 1 }),
            )
          : []),
      ]),
    )
    const [store] = stores as [Store<unknown>]
    const states = async (): Promise<readonly unknown[]> =>
      ((await store.sagas?.list({ limit: 100 })) ?? []).map(({ state }) => JSON.parse(state))
    const all = Array.from({ length: ORDERS - 2 }, () => ({ paid: PRICE, payments: PAYMENTS }))
    while (cancelled.length < 2 || (await states()).some((state) => !isPaid(state))) await sleep(50)
    expect(await states()).toEqual(all)
    expect(cancelled.toSorted()).toEqual(orders.filter(neverPaid).toSorted())
    for (const app of apps) await app.stop()
  }, 60_000)

  test(`${name}: the tables are made once, also by an app that has only just got its first saga`, async () => {
    await using place = await open()
    for (const _ of [1, 2]) {
      const app = openApp(place.store(), memoryNetwork().transport())
      await app.start()
      await app.stop()
    }
    const store = place.store()
    await store.open()
    expect(await store.sagas?.list({ limit: 10 })).toEqual([])
    await store[Symbol.asyncDispose]()
  })
})

const isPaid = (state: unknown): boolean => (state as State).paid === PRICE
