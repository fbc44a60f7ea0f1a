import { MersalError } from '../../core/errors/errors.ts'
import type { OutgoingMessage } from '../../core/messages/message.ts'
import { checkBodySize } from '../parts.ts'

/** Returns the text if the database stores it as it is. Throws `MERSAL_INVALID_MESSAGE`. */
export type CheckText = (field: string, text: string) => string

function refused(field: string, text: string): MersalError {
  return new MersalError('MERSAL_INVALID_MESSAGE', `${field}: ${text}`, { details: { field } })
}

/** A database stores a lone surrogate as another character, or refuses it. */
export const wellFormed: CheckText = (field, text) => {
  if (text.isWellFormed()) return text
  throw refused(field, 'must be well-formed text')
}

export const withoutNul: CheckText = (field, text) => {
  if (text.isWellFormed() && !text.includes('\0')) return text
  throw refused(field, 'must be well-formed text without NUL')
}

/**
 * Refuses what the database could not store as it is, before a statement could fail and spoil the
 * transaction of the user. Throws `MERSAL_INVALID_MESSAGE` or `MERSAL_TOO_LARGE`.
 */
export function checkStorable(message: OutgoingMessage, check: CheckText): void {
  checkBodySize(message)
  const { id, type, to, partitionKey } = message
  check('id', id)
  check('type', type)
  check('to.transport', to.transport)
  check('to.name', to.name)
  if (partitionKey !== undefined) check('partitionKey', partitionKey)
}
