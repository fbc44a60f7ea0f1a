import { MersalError } from '../core/errors.ts'
import { type Envelope, headerNames } from '../core/message.ts'
import { checkHeaders, isHeaderValue } from '../core/validation.ts'

export interface HeaderFacts {
  readonly app: string
  readonly id: string
  /** Milliseconds since the Unix epoch. */
  readonly now: number
  readonly contentType: string
  readonly partitionKey: string | undefined
  /** The message that is being handled. */
  readonly cause: Envelope | undefined
}

/** The sender's own headers and those that Mersal sets: who, when, what for, because of what. */
export function outgoingHeaders(given: Readonly<Record<string, string>> | undefined, facts: HeaderFacts): Record<string, string> {
  // Names of somebody else need an object without a prototype, which is several times slower.
  const headers: Record<string, string> = given === undefined ? {} : checkHeaders(given)
  const { cause } = facts
  headers[headerNames.correlationId] = cause === undefined ? facts.id : (inherited(cause, headerNames.correlationId) ?? cause.id)
  if (cause !== undefined) headers[headerNames.causationId] = cause.id
  headers[headerNames.sentAt] = new Date(facts.now).toISOString()
  headers[headerNames.contentType] = facts.contentType
  headers[headerNames.sender] = facts.app
  if (facts.partitionKey !== undefined) headers[headerNames.partitionKey] = facts.partitionKey
  const trace = headers[headerNames.traceparent] ?? inherited(cause, headerNames.traceparent)
  if (trace !== undefined) headers[headerNames.traceparent] = trace
  return headers
}

/** A header of the message that is being handled; what cannot travel on must not fail whoever handles it. */
function inherited(cause: Envelope | undefined, name: string): string | undefined {
  const value = cause?.headers[name]
  return isHeaderValue(value) ? value : undefined
}

const own = new Set<string>(Object.values(headerNames).filter((name) => name !== headerNames.traceparent))

/** Headers after the steps of the user have run: every one must still be able to travel. */
export function travelling(headers: Readonly<Record<string, string>>): Record<string, string> {
  const others: Record<string, string> = {}
  const kept: Record<string, string> = {}
  for (const [name, value] of Object.entries(headers)) {
    if (!own.has(name)) others[name] = value
    else if (typeof value === 'string') kept[name] = value
    else throw new MersalError('MERSAL_INVALID_MESSAGE', `headers['${name}']: an outgoing step replaced it by something that is no text`)
  }
  return { ...checkHeaders(others), ...kept }
}
