import { MersalError } from '../../core/errors/errors.ts'
import type { Envelope } from '../../core/messages/message.ts'
import { type AppState, appStopped } from '../lifecycle.ts'
import type { Sender, TransactionSender } from '../types.ts'
import type { Ambient } from '../unit/ambient.ts'
import type { OpenUnits } from '../unit/open-units.ts'
import type { UnitSenders } from '../unit/unit-senders.ts'
import {
  type SendPorts,
  callName,
  directCall,
  foreignCall,
  noTransaction,
  unitCall,
} from './send-calls.ts'
import { type CancelCall, cancelIn, cancelNowhere, cancelWithin } from './cancel.ts'
import { type SendCall, createSender } from './sender.ts'
import { unitEnded } from './unit-errors.ts'

export interface AppSenderPorts<Tx> {
  readonly sending: SendPorts<Tx>
  /** False: a send without its own sender never uses the transaction that it happens to run in. */
  readonly ambientSends: boolean
  readonly ambient: Ambient<Tx>
  readonly units: OpenUnits<Tx>
  readonly unitSenders: UnitSenders<Tx>
  readonly lifecycle: { readonly state: AppState }
}

/** The senders of an app, which know where a message goes from where they are called. */
export interface AppSenders<Tx> {
  /** To the broker at once. */
  readonly direct: Sender
  /** Into the transaction that the current code runs in. */
  readonly ambient: TransactionSender
  /** Into a transaction that somebody else owns. */
  within(tx: Tx): TransactionSender
}

export function appSenders<Tx>(ports: AppSenderPorts<Tx>): AppSenders<Tx> {
  const { sending, ambient } = ports
  const cause = (): Envelope | undefined => ambient.getStore()?.cause
  const sender = (target: () => SendCall): Sender =>
    createSender((...call) => {
      if (ports.lifecycle.state === 'stopped')
        return Promise.reject(appStopped(sending.app, callName(call[0], call[1])))
      return target()(...call)
    })
  const canceller = (target: () => CancelCall): CancelCall => {
    return (id) => {
      if (ports.lifecycle.state === 'stopped')
        return Promise.reject(appStopped(sending.app, 'cancel()'))
      return target()(id)
    }
  }
  return {
    direct: sender(() => directCall(sending, cause())),
    ambient: {
      ...sender(() => ambientCall(ports)),
      cancel: canceller(() => ambientCancel(ports)),
    },
    within: (tx) => within(ports, tx, { sender, canceller }),
  }
}

interface Makers {
  readonly sender: (target: () => SendCall) => Sender
  readonly canceller: (target: () => CancelCall) => CancelCall
}

/** Where a cancel of the app itself takes place: in the transaction that the code runs in. */
function ambientCancel<Tx>({ sending, ambientSends, ambient }: AppSenderPorts<Tx>): CancelCall {
  const unit = ambientSends ? ambient.getStore()?.unit : undefined
  return unit === undefined ? cancelNowhere : cancelIn(sending, unit)
}

/** Where a send of the app itself goes. */
function ambientCall<Tx>({ sending, ambientSends, ambient }: AppSenderPorts<Tx>): SendCall {
  const scope = ambient.getStore()
  const hasOutbox = sending.storage !== undefined
  if (!ambientSends && (scope !== undefined || hasOutbox)) return noTransaction
  if (scope?.unit !== undefined) return unitCall(sending, scope.unit)
  return hasOutbox ? noTransaction : directCall(sending, scope?.cause)
}

function within<Tx>(
  { sending, ambient, units, unitSenders }: AppSenderPorts<Tx>,
  tx: Tx,
  { sender, canceller }: Makers,
): TransactionSender {
  const { storage } = sending
  if (storage === undefined)
    throw new MersalError(
      'MERSAL_INVALID_OPTIONS',
      'within(): this app has no outbox: give it a store, or outbox.storage',
    )
  if (tx === undefined || tx === null) {
    const text = `within(): expected the handle of an open transaction, got ${String(tx)}`
    throw new MersalError('MERSAL_NOT_A_TRANSACTION', text)
  }
  const scope = ambient.getStore()
  const unit = scope?.unit
  if (unit?.late === true && unit.tx === tx)
    return {
      ...createSender((verb, type) => Promise.reject(unitEnded(callName(verb, type)))),
      cancel: () => Promise.reject(unitEnded('cancel()')),
    }
  // By the handle, not by the context: a queue in this process may have carried the call into the
  // context of another unit.
  const ours = unit?.open === true && unit.tx === tx ? unit : units.ofHandle(tx)
  if (ours !== undefined) return unitSenders.make(ours, {})
  const call = foreignCall(sending, storage, tx, scope?.cause)
  const cancel = cancelWithin(sending, tx)
  return { ...sender(() => call), cancel: canceller(() => cancel) }
}
