/** The app with the saga, which also answers requests and gets the reminders. */
import { command, event, type Mersal, saga } from '../../src/index.ts'
import { replyAtOnce } from './bugs.ts'
import type { Desk } from './desk.ts'
import { A_DAY_MS, type Bug, courseOf, SAGA, timeoutMs, types } from './plan.ts'

interface OfOrder {
  readonly number: number
}
interface OfPart extends OfOrder {
  readonly part: number
}
interface State {
  readonly number: number
  readonly paid: number
}

export const Start = command<OfOrder>(types.start)
export const Pay = command<OfPart>(types.pay)
export const Remind = command<OfOrder>(types.remind)
export const Quote = command<OfOrder, { readonly cents: number }>(types.quote)
const Opened = event<OfOrder>(types.opened)
const PartPaid = event<OfPart>(types.partPaid)
const Closed = event<OfOrder & { readonly by: string }>(types.closed)
const Order = saga<State>(SAGA)

const keyOf = ({ number }: OfOrder): string => `order ${number}`

export function listen(app: Mersal<unknown>, desk: Desk, bug: Bug | undefined): void {
  const noted = (tx: unknown, number: number, step: string, id: string): Promise<unknown> =>
    desk.run(
      tx,
      `insert into steps (number, step, message, at) values (?, ?, ?, ${desk.now})
       /* ${step.split(' ')[0]} */`,
      number,
      step,
      id,
    )
  app.saga(Order, (on) => {
    on.start(Start, keyOf, async (state, { number }, { tx, publish, timeout, message }) => {
      await noted(tx, number, 'start', message.id)
      if (state !== undefined) return state
      timeout('unpaid', { milliseconds: timeoutMs(number) })
      await publish(Opened, { number })
      return { number, paid: 0 }
    })
    on(Pay, keyOf, async (state, { number, part }, { tx, publish, timeout, complete, message }) => {
      await noted(tx, number, `part ${part}`, message.id)
      await publish(PartPaid, { number, part })
      const paid = state.paid + 1
      if (courseOf(number) === 'again') timeout('unpaid', { milliseconds: timeoutMs(number) })
      if (paid < 2) return { ...state, paid }
      await noted(tx, number, 'settled', message.id)
      await publish(Closed, { number, by: 'settled' })
      complete()
      return undefined
    })
    on.timeout('unpaid', async ({ number }, { tx, publish, complete, message }) => {
      await noted(tx, number, 'overdue', message.id)
      await publish(Closed, { number, by: 'overdue' })
      complete()
    })
  })
  app.handle(Quote, async ({ number }, { tx, reply, message }) => {
    const cents = Math.floor(Math.random() * A_DAY_MS)
    await (bug === 'reply at once' ? replyAtOnce(desk, message, cents) : reply({ cents }))
    const sql = 'insert into quoted (number, cents, message) values (?, ?, ?) /* quote */'
    await desk.run(tx, sql, number, cents, message.id)
  })
  app.handle(Remind, async ({ number }, { tx, message }) => {
    const sql = 'insert into reminded (number, message) values (?, ?) /* reminded */'
    await desk.run(tx, sql, number, message.id)
  })
}
