import { MersalError } from '../errors/errors.ts'
import { type Envelope, headerNames } from './message.ts'

/**
 * Whether the time of a message is over, which its sender wrote into a header by the clock of its
 * process. A text that is no time never ends.
 */
export function isExpired({ headers }: Pick<Envelope, 'headers'>, now: number): boolean {
  const text = headers[headerNames.expiresAt]
  return text !== undefined && Date.parse(text) <= now
}

/** Why an expired message became a dead letter. */
export function expired({ id, headers }: Envelope): MersalError {
  const at = headers[headerNames.expiresAt] ?? ''
  return new MersalError(
    'MERSAL_EXPIRED',
    `the message was to be handled before ${at.slice(0, 40)}, and that time was over: discard it, or send what is still wanted as a new message`,
    { details: { id } },
  )
}
