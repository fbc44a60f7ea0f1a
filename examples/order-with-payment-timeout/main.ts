/**
 * An order waits for its payment, for a limited time. The saga keeps what it knows of the order in
 * the database. Each message changes it in one transaction with everything that the message causes.
 *
 * `node examples/order-with-payment-timeout/main.ts` prints what happens to two orders.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { command, event, Mersal, saga } from '../../src/index.ts' // in your program: 'mersal'
import { sqlite, sqliteQueue } from '../../src/sqlite.ts' // 'mersal/sqlite'

export const PlaceOrder = command<{ order: string; total: number; patienceMs: number }>(
  'orders.place',
)
export const PaymentReceived = event<{ order: string; amount: number }>('payments.received')
const OrderPaid = event<{ order: string }>('orders.paid')
const OrderCancelled = event<{ order: string; paid: number }>('orders.cancelled')

interface State {
  readonly total: number
  readonly paid: number
}
const Order = saga<State>('order')

export interface Shop extends AsyncDisposable {
  /** `patienceMs`: how long the order may stay unpaid. */
  readonly place: (order: string, total: number, patienceMs: number) => Promise<void>
  readonly pay: (order: string, amount: number) => Promise<void>
}

export async function openShop(folder: string, say: (line: string) => void): Promise<Shop> {
  const transport = () => sqliteQueue({ path: `${folder}/broker.db`, pollIntervalMs: 10 })
  const shop = new Mersal({
    name: 'shop',
    store: sqlite({ path: `${folder}/shop.db` }),
    transport: transport(),
    outbox: { relay: { pollIntervalMs: 50 } },
  })
  shop.saga(Order, (on) => {
    on.start(
      PlaceOrder,
      ({ order }) => order,
      (state, { total, patienceMs }, { timeout }) => {
        timeout('unpaid', { milliseconds: patienceMs })
        return state ?? { total, paid: 0 }
      },
    )
    on(
      PaymentReceived,
      ({ order }) => order,
      async (state, { order, amount }, { publish, complete }) => {
        const paid = state.paid + amount
        if (paid >= state.total) {
          await publish(OrderPaid, { order })
          complete()
        }
        return { ...state, paid }
      },
    )
    on.timeout('unpaid', async ({ paid }, { publish, complete, key }) => {
      await publish(OrderCancelled, { order: key, paid })
      complete()
    })
  })
  const mail = new Mersal({
    name: 'mail',
    store: sqlite({ path: `${folder}/mail.db` }),
    transport: transport(),
  })
  mail.handle(OrderPaid, ({ order }) => say(`order ${order} is paid`))
  mail.handle(OrderCancelled, ({ order, paid }) =>
    say(`order ${order} is cancelled, ${paid} goes back`),
  )
  await mail.start()
  await shop.start()
  return {
    place: (order, total, patienceMs) =>
      shop.transaction(
        async (_, { sendLocal }) =>
          void (await sendLocal(PlaceOrder, { order, total, patienceMs })),
      ),
    pay: (order, amount) =>
      shop.transaction(
        async (_, { publish }) => void (await publish(PaymentReceived, { order, amount })),
      ),
    async [Symbol.asyncDispose]() {
      await shop.stop()
      await mail.stop()
    },
  }
}

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'mersal-example-'))
  const both = Promise.withResolvers<void>()
  let lines = 0
  const shop = await openShop(folder, (line) => {
    process.stdout.write(`${line}\n`)
    if (++lines === 2) both.resolve()
  })
  try {
    await shop.place('A', 100, 2000)
    await shop.place('B', 100, 2000)
    await shop.pay('A', 40)
    await shop.pay('B', 40)
    await shop.pay('A', 60)
    await both.promise
  } finally {
    await shop[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true, force: true })
  }
}

if (import.meta.main) await main()
