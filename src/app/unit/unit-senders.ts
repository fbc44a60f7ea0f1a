import { MersalError } from '../../core/errors/errors.ts'
import { cancelIn } from '../send/cancel.ts'
import { createSender } from '../send/sender.ts'
import { type SendPorts, unitCall } from '../send/send-calls.ts'
import type { AfterCommit } from './after-commit.ts'
import { type SavepointPorts, savepointIn } from './savepoints.ts'
import type { UnitSender } from '../types.ts'
import type { Unit } from './unit.ts'

/**
 * Makes the senders of units, and finds the unit of a sender.
 *
 * A queue in this process may carry a call into the asynchronous context of another request, so the
 * context does not prove that a call is nested. A sender does, since only the code of its unit was
 * given it.
 */
export interface UnitSenders<Tx> {
  /** Makes a sender into this unit, with these fields beside it. */
  readonly make: <Fields extends object>(unit: Unit<Tx>, fields: Fields) => Fields & UnitSender
  /** Returns the unit of a sender that was made here. Else throws `MERSAL_INVALID_OPTIONS`. */
  readonly unitOf: (sender: unknown) => Unit<Tx>
}

export function unitSenders<Tx>(
  ports: SendPorts<Tx>,
  nesting: SavepointPorts<Tx>,
): UnitSenders<Tx> {
  const units = new WeakMap<object, Unit<Tx>>()
  return {
    make(unit, fields) {
      const sender = Object.assign(
        createSender(unitCall(ports, unit)),
        {
          cancel: cancelIn(ports, unit),
          savepoint: savepointIn(nesting, unit),
          afterCommit: (work: AfterCommit) => unit.afterCommit(work),
        },
        fields,
      )
      units.set(sender, unit)
      return sender
    },
    unitOf(sender) {
      const unit = typeof sender === 'object' && sender !== null ? units.get(sender) : undefined
      if (unit !== undefined) return unit
      const wanted = `the very object that the outer callback, or the handler as its context, was given by the app '${ports.app}'`
      const text = `transaction().join: expected ${wanted}, or false; the app itself, a copy, or a sender of another app is none`
      throw new MersalError('MERSAL_INVALID_OPTIONS', text, {
        details: { field: 'transaction().join' },
      })
    },
  }
}
