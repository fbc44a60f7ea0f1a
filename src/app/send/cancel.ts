import { MersalError } from '../../core/errors/errors.ts'
import type { Cancellation, WaitingRows } from '../../core/outbox.ts'
import { checkedId } from './outgoing.ts'
import { type SendPorts, watched } from './send-calls.ts'
import type { Unit } from '../unit/unit.ts'

/** Takes a delayed message back, by its id. */
export type CancelCall = (this: void, id: string) => Promise<Cancellation>

const CANCEL = 'cancel()'

/** Where there is no transaction. */
export const cancelNowhere: CancelCall = () =>
  Promise.reject(
    new MersalError(
      'MERSAL_NO_TRANSACTION',
      `${CANCEL} outside of any transaction: call it on the sender of app.transaction(), in a handler, or on app.within(tx)`,
    ),
  )

/** In a unit that Mersal runs. */
export function cancelIn<Tx>(ports: SendPorts<Tx>, unit: Unit<Tx>): CancelCall {
  const { storage } = ports
  if (storage === undefined) return cancelNowhere
  // The promise of the unit itself, which has to be awaited.
  return (id) =>
    unit.cancel(typeof id === 'string' ? id.toLowerCase() : '', async () => {
      const answer = await cancelOf(storage.waiting)(unit.tx, checkedId(id))
      // Later messages of its key need not wait for a poll.
      if (answer === 'cancelled') unit.afterCommit(ports.onCancelled)
      return answer
    })
}

/** In a transaction that other code owns, whose end we do not see. */
export function cancelWithin<Tx>(ports: SendPorts<Tx>, tx: Tx): CancelCall {
  const cancel: CancelCall = async (id) => {
    const given = checkedId(id)
    const answer = await cancelOf(ports.storage?.waiting)(tx, given)
    if (answer === 'cancelled') ports.onForeignRows([], [])
    return answer
  }
  return (id) => watched(ports, CANCEL, cancel(id))
}

function cancelOf<Tx>(
  waiting: WaitingRows<Tx> | undefined,
): (tx: Tx, id: string) => Promise<Cancellation> {
  if (waiting?.cancel === undefined)
    throw new MersalError(
      'MERSAL_INVALID_OPTIONS',
      `${CANCEL}: the outbox of this app cannot take messages back`,
    )
  return waiting.cancel.bind(waiting)
}
