import { MersalError } from '../errors/errors.ts'
import { checkChoice } from '../options.ts'
import { type Envelope, headerNames } from './message.ts'

/** What becomes of a message that has expired. */
export type OnExpired = 'discard' | 'dead-letter'

const fates = ['discard', 'dead-letter'] as const

/** Throws `MERSAL_INVALID_OPTIONS` unless this is a choice. Default 'dead-letter'. */
export function checkOnExpired(field: string, given: OnExpired | undefined): OnExpired {
  return checkChoice(field, given, fates, 'dead-letter')
}

/**
 * Whether the time of a message is over, which its sender wrote into a header by the clock of its
 * process. Only what an app has sent has such a time: a header of this name from another program,
 * or with another form, means nothing here.
 */
export function isExpired({ headers }: Pick<Envelope, 'headers'>, now: number): boolean {
  const text = headers[headerNames.expiresAt]
  if (text === undefined || headers[headerNames.sender] === undefined) return false
  return isTimeText(text) && Date.parse(text) <= now && isTimeText(headers[headerNames.sentAt])
}

/** Whether this is a time in exactly the form in which `Date.prototype.toISOString` writes it. */
export function isTimeText(text: string | undefined): text is string {
  const time = text === undefined ? Number.NaN : Date.parse(text)
  return !Number.isNaN(time) && new Date(time).toISOString() === text
}

/** Why an expired message became a dead letter. `doubt`: what nobody knows about it. */
export function expired({ id, headers }: Envelope, doubt = ''): MersalError {
  const at = headers[headerNames.expiresAt] ?? ''
  return new MersalError(
    'MERSAL_EXPIRED',
    `the message was to be handled before ${at.slice(0, 40)}, and that time was over${doubt}: discard it, or send what is still wanted as a new message`,
    { details: { id } },
  )
}
