import { MersalError } from '../core/errors/errors.ts'
import { invalidOption } from '../core/options.ts'
import type { Settings } from './settings/settings.ts'

/** Throws unless the queue of the app can be removed. */
export function checkRemoval({
  sendOnly,
  transports,
}: Pick<Settings<never>, 'sendOnly' | 'transports'>): void {
  const field = 'stop().removeQueue'
  if (sendOnly) throw invalidOption(field, 'this app only sends and has no input queue')
  const without = [...transports.values()].find((transport) => transport.removeQueue === undefined)
  if (without !== undefined)
    throw invalidOption(field, `the transport '${without.name}' cannot remove queues`)
}

/** The error for something else where an app is wanted. */
export function notAnApp(): MersalError {
  return invalidOption('app', 'expected an app made by new Mersal()')
}

/** The error for a call that makes no sense in this app. */
export function misuse(call: string, text: string): MersalError {
  return new MersalError('MERSAL_INVALID_OPTIONS', `${call}: ${text}`)
}
