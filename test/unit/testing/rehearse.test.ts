import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { command, event, saga } from '../../../src/index.ts'
import type { SagaReactions } from '../../../src/app/sagas/types.ts'
import { type SagaRehearsal, rehearse } from '../../../src/testing/index.ts'

const PlaceOrder = command<{ orderId: string; total: number }>('orders.place')
const Paid = event<{ orderId: string; amount: number }>('payments.received')
const Ship = command<{ orderId: string }>('orders.ship')
const Cancelled = event<{ orderId: string }>('orders.cancelled')
const State = z.object({ total: z.number(), paid: z.number() })
type State = z.infer<typeof State>
const Order = saga('order', { state: State })

function orders(on: SagaReactions<State, unknown>): void {
  on.start(
    PlaceOrder,
    ({ orderId }) => orderId,
    (state, { total }, { timeout }) => {
      timeout('reminder', { days: 7 })
      timeout('unpaid', { days: 14 })
      return state ?? { total, paid: 0 }
    },
  )
  on(
    Paid,
    ({ orderId }) => orderId,
    async (
      state,
      { orderId, amount },
      { send, savepoint, complete, cancelTimeout, afterCommit },
    ) => {
      if (amount < 0) await send(Ship, { orderId }).then(() => Promise.reject(new Error('refund')))
      cancelTimeout('reminder')
      await savepoint(() => Promise.reject(new Error('no'))).catch(() => {})
      const paid = state.paid + amount
      afterCommit(() => told.push(orderId))
      if (paid < state.total) return { ...state, paid }
      await send(Ship, { orderId }, { delayMs: 5 })
      complete()
      return undefined
    },
    { missing: 'dead' },
  )
  on.timeout('reminder', (state) => state)
  on.timeout('unpaid', async (_, { publish, complete, key }) => {
    await publish(Cancelled, { orderId: key })
    complete()
  })
}

let told: string[] = []

async function placed(): Promise<SagaRehearsal<State>> {
  told = []
  const order = rehearse(Order, orders)
  expect(await order.receives(PlaceOrder, { orderId: 'o-1', total: 10 })).toEqual([])
  return order
}

const days = (count: number): number => count * 86_400_000

describe('the rehearsal of a saga', () => {
  test('shows the state, and what it sends', async () => {
    const order = await placed()
    expect(await order.state('o-1')).toEqual({ total: 10, paid: 0 })
    expect(await order.receives(Paid, { orderId: 'o-1', amount: 4 })).toEqual([])
    expect(await order.state('o-1')).toEqual({ total: 10, paid: 4 })
    expect(await order.receives(Paid, { orderId: 'o-1', amount: 6 })).toEqual([
      { kind: 'send', type: 'orders.ship', body: { orderId: 'o-1' }, options: { delayMs: 5 } },
    ])
    expect(await order.state('o-1')).toBeUndefined()
    expect(told).toEqual(['o-1', 'o-1'])
  })

  test('shows its timeouts, and lets their time go by', async () => {
    const order = await placed()
    expect(order.timeouts('o-1')).toEqual({ reminder: days(7), unpaid: days(14) })
    expect(await order.passes({ days: 8 })).toEqual([])
    expect(order.timeouts('o-1')).toEqual({ unpaid: days(6) })
    expect(await order.passes({ days: 5, hours: 23 })).toEqual([])
    expect(await order.passes({ hours: 1 })).toEqual([
      { kind: 'publish', type: 'orders.cancelled', body: { orderId: 'o-1' }, options: {} },
    ])
    expect(await order.state('o-1')).toBeUndefined()
    expect(order.timeouts('o-1')).toEqual({})
  })

  test('a timeout that was taken back, or whose instance has ended, never fires', async () => {
    const order = await placed()
    await order.receives(Paid, { orderId: 'o-1', amount: 4 })
    expect(order.timeouts('o-1')).toEqual({ unpaid: days(14) })
    await order.receives(Paid, { orderId: 'o-1', amount: 6 })
    await order.receives(PlaceOrder, { orderId: 'o-1', total: 3 })
    expect(order.timeouts('o-1')).toEqual({ reminder: days(7), unpaid: days(14) })
    expect(await order.passes({ days: 13 })).toEqual([])
    expect(await order.state('o-1')).toEqual({ total: 3, paid: 0 })
  })

  test('a message that fails changes nothing, and its error comes through', async () => {
    const order = await placed()
    await expect(order.receives(Paid, { orderId: 'o-1', amount: -1 })).rejects.toThrow('refund')
    expect(await order.state('o-1')).toEqual({ total: 10, paid: 0 })
    expect(told).toEqual([])
    await expect(order.receives(Paid, { orderId: 'o-2', amount: 1 })).rejects.toMatchObject({
      code: 'MERSAL_REJECTED',
      cause: { code: 'MERSAL_SAGA_MISSING' },
    })
    await expect(order.receives(Ship, { orderId: 'o-1' })).rejects.toThrow(
      "the saga 'order' lists no message 'orders.ship'",
    )
  })

  test('a state that the schema refuses, and a wrong duration, are refused as in an app', async () => {
    const order = await placed()
    const wrong = { orderId: 'o-2', total: 'ten' as never }
    await expect(order.receives(PlaceOrder, wrong)).rejects.toMatchObject({
      code: 'MERSAL_SAGA_STATE',
    })
    await expect(order.passes({})).rejects.toMatchObject({ code: 'MERSAL_INVALID_OPTIONS' })
    expect(() => rehearse(Order, () => {})).toThrow('nothing starts it')
  })

  test('a saga that writes rows gets the tx that is given', async () => {
    const rows: string[] = []
    const Log = saga('log')
    const rehearsal = rehearse(
      Log,
      (on: SagaReactions<unknown, string[]>) =>
        on.start(
          PlaceOrder,
          ({ orderId }) => orderId,
          (_, { orderId }, { tx }) => {
            tx.push(orderId)
            return { orderId }
          },
        ),
      { tx: rows },
    )
    await rehearsal.receives(PlaceOrder, { orderId: 'o-1', total: 1 })
    expect(rows).toEqual(['o-1'])
  })
})
