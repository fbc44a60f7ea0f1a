/** The app with the saga and the ordered handlers. */
import type { Mersal } from '../../../src/index.ts'
import type { CrashPoint } from '../../../src/testing/crash-points.ts'
import type { Desk } from '../desks/desk.ts'
import type { SourceOfProcess } from '../source.ts'
import { courseOf, featureTypes, SAGA, timeoutMs } from './plan.ts'

interface Order {
  readonly number: number
}
interface State extends Order {
  readonly paid: number
}

/** Whether the first delivery of this message fails. */
const failsFirst = (id: string): boolean => Number.parseInt(id.slice(-2), 16) < 8

export function listenAsClerk<Tx>(
  app: Mersal<Tx>,
  desk: Desk<Tx>,
  { core }: Pick<SourceOfProcess, 'core'>,
  at: (point: CrashPoint) => void,
): void {
  const start = core.command<Order>(featureTypes.start)
  const pay = core.command<Order & { readonly part: number }>(featureTypes.pay)
  const step = core.command<{ readonly key: number; readonly seq: number }>(featureTypes.step)
  const keyOf = ({ number }: Order): string => `order ${number}`
  const noted = async (tx: Tx, number: number, what: string): Promise<void> => {
    const sql = `insert into ${desk.prefix}saga_steps (number, step, at) values (?, ?, ${desk.now})`
    await desk.run(tx, sql, number, what)
    at('C4')
  }
  app.saga(core.saga<State>(SAGA), (on) => {
    on.start(start, keyOf, async (state, { number }, { tx, timeout, message, attempt }) => {
      await noted(tx, number, 'start')
      if (attempt === 1 && failsFirst(message.id)) throw new Error('the first delivery fails')
      if (state !== undefined) return state
      timeout('unpaid', { milliseconds: timeoutMs(number) })
      return { number, paid: 0 }
    })
    on(pay, keyOf, async (state, { number, part }, { tx, timeout, complete }) => {
      await noted(tx, number, `part ${part}`)
      if (courseOf(number) === 'again') timeout('unpaid', { milliseconds: timeoutMs(number) })
      const paid = state.paid + 1
      if (paid < 2) return { ...state, paid }
      await noted(tx, number, 'settled')
      return complete()
    })
    on.timeout('unpaid', async ({ number }, { tx, complete }) => {
      await noted(tx, number, 'overdue')
      complete()
    })
  })
  app.handle(step, async ({ key, seq }, { tx, message, attempt }) => {
    const sql = `insert into ${desk.prefix}done_steps (step_key, seq) values (?, ?)`
    await desk.run(tx, sql, key, seq)
    at('C4')
    if (attempt === 1 && failsFirst(message.id)) throw new Error('the first delivery fails')
  })
}
