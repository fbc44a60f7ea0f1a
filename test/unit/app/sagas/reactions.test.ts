import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import {
  command,
  event,
  saga,
  type SagaMissing,
  type SagaReactions,
} from '../../../../src/index.ts'
import type { MemoryTransaction } from '../../../../src/memory.ts'
import { json } from '../../support/fake-transport.ts'
import { openShop, type ShopOptions } from '../../support/shop.ts'

const Placed = event<{ order?: string; lines: number }>('orders.placed')
const Paid = event<{ order: string; amount: number }>('orders.paid')
const Ship = command<{ order: string }>('orders.ship')

const State = z.object({ lines: z.number(), paid: z.number() })
type State = z.infer<typeof State>
const Order = saga('order', { state: State })

type On = SagaReactions<State, MemoryTransaction>

function places(on: On): void {
  on.start(
    Placed,
    ({ order }) => order as string,
    (before, { lines }) => ({ lines: (before?.lines ?? 0) + lines, paid: before?.paid ?? 0 }),
  )
}

function pays(on: On, missing?: SagaMissing): void {
  on(
    Paid,
    ({ order }) => order,
    async (state, { order, amount }, { sendLocal, complete }) => {
      if (amount < 0) throw new Error('a debt')
      if (state.paid + amount >= 100) {
        await sendLocal(Ship, { order })
        complete()
      }
      return { ...state, paid: state.paid + amount }
    },
    missing === undefined ? {} : { missing },
  )
}

function setUp(list: (on: On) => void, options: ShopOptions = {}, type = Order) {
  const shop = openShop(options)
  const app = shop.app
  app.saga(type, list)
  app.handle(Ship, () => {})
  const deliver = (type: string, body: unknown, more: { id?: string; attempt?: number } = {}) => {
    const { id, ...delivery } = more
    return shop.transport.deliver(
      'shop',
      { type, body: json(body), ...(id === undefined ? {} : { id }) },
      delivery,
    )
  }
  const states = async (): Promise<readonly unknown[]> =>
    (await shop.store.sagas?.list({ limit: 10 }))?.map(({ key, state }) => [
      key,
      JSON.parse(state) as unknown,
    ]) ?? []
  return { ...shop, app, deliver, states }
}

describe('what a saga does', () => {
  test('a message that starts it makes an instance, and later ones of its key change it', async () => {
    const { app, deliver, states } = setUp((on) => {
      places(on)
      pays(on)
    })
    await app.start()
    expect(await deliver('orders.placed', { order: 'o1', lines: 2 })).toEqual({ kind: 'ack' })
    expect(await deliver('orders.placed', { order: 'o2', lines: 1 })).toEqual({ kind: 'ack' })
    expect(await deliver('orders.paid', { order: 'o1', amount: 30 })).toEqual({ kind: 'ack' })
    expect(await states()).toEqual([
      ['o1', { lines: 2, paid: 30 }],
      ['o2', { lines: 1, paid: 0 }],
    ])
    await app.stop()
  })

  test('a second start of the same key gets the state that is there, and makes no second instance', async () => {
    const { app, deliver, states } = setUp(places)
    await app.start()
    await deliver('orders.placed', { order: 'o1', lines: 2 })
    await deliver('orders.placed', { order: 'o1', lines: 3 })
    expect(await states()).toEqual([['o1', { lines: 5, paid: 0 }]])
    await app.stop()
  })

  test('P5: a copy of a message changes the instance once', async () => {
    const { app, deliver, states } = setUp((on) => {
      places(on)
      pays(on)
    })
    await app.start()
    await deliver('orders.placed', { order: 'o1', lines: 2 })
    for (const _ of [1, 2])
      expect(await deliver('orders.paid', { order: 'o1', amount: 30 }, { id: 'm1' })).toEqual({
        kind: 'ack',
      })
    expect(await states()).toEqual([['o1', { lines: 2, paid: 30 }]])
    await app.stop()
  })

  test('P1: a saga that throws leaves its state as it was, and sends nothing', async () => {
    const { app, deliver, states, rows } = setUp((on) => {
      places(on)
      on(
        Paid,
        ({ order }) => order,
        async (state, _, { sendLocal }) => {
          await sendLocal(Ship, { order: 'o1' })
          if (state.paid === 0) throw new Error('not today')
        },
      )
    })
    await app.start()
    await deliver('orders.placed', { order: 'o1', lines: 2 })
    const answer = await deliver('orders.paid', { order: 'o1', amount: 1 })
    expect(answer).toMatchObject({ kind: 'retry' })
    expect(await states()).toEqual([['o1', { lines: 2, paid: 0 }]])
    expect(await rows()).toEqual([])
    await app.stop()
  })

  test('an instance that is completed goes in the transaction of its last message', async () => {
    const { app, deliver, states, rows } = setUp((on) => {
      places(on)
      pays(on)
    })
    await app.start()
    await deliver('orders.placed', { order: 'o1', lines: 2 })
    await deliver('orders.paid', { order: 'o1', amount: 100 })
    expect(await states()).toEqual([])
    expect(await rows()).toHaveLength(1)
    await app.stop()
  })

  test('a saga that returns nothing leaves the state as it is', async () => {
    const { app, deliver, states } = setUp((on) => {
      places(on)
      on(
        Paid,
        ({ order }) => order,
        () => {},
      )
    })
    await app.start()
    await deliver('orders.placed', { order: 'o1', lines: 2 })
    expect(await deliver('orders.paid', { order: 'o1', amount: 1 })).toEqual({ kind: 'ack' })
    expect(await states()).toEqual([['o1', { lines: 2, paid: 0 }]])
    await app.stop()
  })

  test('the state that is given is frozen: a change in place fails, and is not lost in silence', async () => {
    const { app, deliver, states } = setUp((on) => {
      places(on)
      on(
        Paid,
        ({ order }) => order,
        (state) => {
          ;(state as { paid: number }).paid = 100
        },
      )
    })
    await app.start()
    await deliver('orders.placed', { order: 'o1', lines: 2 })
    const answer = await deliver('orders.paid', { order: 'o1', amount: 1 })
    expect(answer).toMatchObject({ kind: 'retry' })
    expect(await states()).toEqual([['o1', { lines: 2, paid: 0 }]])
    await app.stop()
  })
})

describe('a message for no instance', () => {
  test.each([
    ['ignored by default', undefined, { kind: 'ack' }],
    ['tried again', 'retry', { kind: 'retry' }],
    ['a dead letter at once', 'dead', { kind: 'reject' }],
  ] as const)('is %s', async (_, missing, expected) => {
    const { app, deliver, states } = setUp((on) => {
      places(on)
      pays(on, missing)
    })
    await app.start()
    const answer = await deliver('orders.paid', { order: 'o9', amount: 1 })
    expect(answer).toMatchObject(expected)
    expect(await states()).toEqual([])
    await app.stop()
  })
})

describe('what a saga refuses', () => {
  test.each([
    ['no key', {}],
    ['an empty key', { order: '' }],
    ['a number', { order: 7 }],
    ['a key that is too long', { order: 'ä'.repeat(128) }],
    ['a control character', { order: 'a\u0000b' }],
  ])('a message with %s is a dead letter that names the saga', async (_, fields) => {
    const { app, deliver } = setUp(places)
    await app.start()
    const answer = await deliver('orders.placed', { lines: 1, ...fields })
    expect(answer).toMatchObject({ kind: 'reject' })
    const { error } = answer as unknown as { error: Error }
    expect(error.cause).toMatchObject({ code: 'MERSAL_SAGA_KEY', details: { saga: 'order' } })
    await app.stop()
  })

  test.each([
    ['that the schema refuses', { lines: 'two', paid: 0 }],
    ['that JSON cannot hold', { lines: Number.NaN, paid: 0 }],
    ['that is missing', undefined],
  ])('a state %s is not stored, and the message is tried again', async (_, state) => {
    const { app, deliver, states } = setUp((on) =>
      on.start(
        Placed,
        ({ order }) => order as string,
        () => state as never,
      ),
    )
    await app.start()
    const answer = await deliver('orders.placed', { order: 'o1', lines: 1 })
    expect(answer).toMatchObject({ kind: 'retry', error: { code: 'MERSAL_SAGA_STATE' } })
    expect(await states()).toEqual([])
    await app.stop()
  })

  test('P8: a state of a later version stays as it is, and its messages wait uncharged', async () => {
    const { app, store, deliver, states } = setUp((on) => {
      places(on)
      pays(on)
    })
    await app.start()
    await deliver('orders.placed', { order: 'o1', lines: 2 })
    const key = { app: 'shop', saga: 'order', key: 'o1' }
    await store.unitOfWork(async (tx) => {
      const found = await store.sagas?.load(tx, key)
      if (found !== undefined) await store.sagas?.store(tx, key, { ...found, version: 2 })
    })
    const paid = { order: 'o1', amount: 1 }
    const waits = { kind: 'retry', postponedSince: expect.any(Number) as number }
    const error = { code: 'MERSAL_FUTURE_VERSION', details: { version: 2, known: 1 } }
    for (const attempt of [1, 5])
      expect(await deliver('orders.paid', paid, { attempt })).toMatchObject({ ...waits, error })
    expect(await states()).toEqual([['o1', { lines: 2, paid: 0 }]])
    await app.stop()
  })

  test('a state of an earlier version is upgraded, and stored as the present one', async () => {
    const upgrade = (state: unknown, version: number): unknown => ({
      lines: (state as { count: number }).count,
      paid: version,
    })
    const second = saga('order', { state: State, version: 2, upgrade })
    const { app, store, deliver, states } = setUp(
      (on) => {
        places(on)
        pays(on)
      },
      {},
      second,
    )
    await app.start()
    const key = { app: 'shop', saga: 'order', key: 'o1' }
    const id = '018f0000-0000-7000-8000-000000000001'
    const old = { id, version: 1, state: '{"count":4}', timeouts: '{"last":0,"numbers":{}}' }
    await store.unitOfWork(async (tx) => store.sagas?.store(tx, key, old))
    expect(await deliver('orders.paid', { order: 'o1', amount: 5 })).toEqual({ kind: 'ack' })
    expect(await states()).toEqual([['o1', { lines: 4, paid: 6 }]])
    const [record] = (await store.sagas?.list({ limit: 1 })) ?? []
    expect(record?.version).toBe(2)
    await app.stop()
  })
})

describe('registration', () => {
  const refused = (list: unknown, type: unknown = Order) => {
    const { app } = openShop()
    return () => app.saga(type as typeof Order, list as never)
  }
  test.each([
    ['no function', 'list'],
    ['nothing that starts it', pays],
    ['a key that is no function', (on: On) => on.start(Placed, 'order' as never, () => undefined)],
    [
      'a type that is none',
      (on: On) =>
        on.start(
          {} as never,
          () => 'k',
          () => undefined,
        ),
    ],
    [
      'an unknown option',
      (on: On) =>
        on(
          Paid,
          () => 'k',
          () => {},
          { mising: 'dead' } as never,
        ),
    ],
    [
      'an unknown choice',
      (on: On) =>
        on(
          Paid,
          () => 'k',
          () => {},
          { missing: 'no' as never },
        ),
    ],
    ['a timeout that is listed twice', (on: On) => [1, 2].map(() => on.timeout('late', () => {}))],
  ])('%s is refused', (_, list) => {
    expect(refused(list)).toThrow(/MERSAL|saga\('order'\)/)
  })

  test('a message type that has a handler, and a second saga of the same name, are refused', () => {
    const { app } = openShop()
    app.saga(Order, places)
    expect(() => app.handle(Placed, () => {})).toThrow('has a handler already')
    expect(() => app.saga(Order, pays as never)).toThrow("saga('order')")
  })

  test.each([
    ['name', () => saga('not a name')],
    ['name', () => saga('x'.repeat(195))],
    ['state', () => saga('order', { state: {} as never })],
    ['version', () => saga('order', { version: 0 })],
    ['upgrade', () => saga('order', { version: 2 })],
    ['stat', () => saga('order', { stat: State } as never)],
  ])('saga() refuses a bad %s, and names the field', (field, define) => {
    expect(define).toThrow(field)
  })

  test('a store without sagas is refused, and says so', () => {
    const { app } = openShop({
      change: ({ sagas: _, ...store }) => store,
    })
    expect(() => app.saga(Order, places as never)).toThrow("the store 'memory' keeps no sagas")
  })
})
