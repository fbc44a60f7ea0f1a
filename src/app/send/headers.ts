import { MersalError } from '../../core/errors/errors.ts'
import { isTimeText } from '../../core/messages/expiry.ts'
import { type Envelope, headerNames, tenantHeader } from '../../core/messages/message.ts'
import {
  checkHeaders,
  contentTypeRule,
  isContentType,
  isHeaderName,
  isHeaderValue,
  isSetByOthers,
  reservedHeaders,
  traceHeaders,
} from '../../core/messages/validation.ts'

export interface HeaderFacts {
  readonly app: string
  readonly tenant: string | undefined
  readonly id: string
  /** Milliseconds since the Unix epoch. */
  readonly now: number
  readonly contentType: string
  /** Version of the body; undefined for a type that has had only one. */
  readonly version: number | undefined
  readonly partitionKey: string | undefined
  readonly expiresInMs: number | undefined
  /** The queue that the reply is to go to. */
  readonly replyTo: string | undefined
  /** Names of headers that are carried on from the message that is being handled. */
  readonly inherit: readonly string[]
  /** Headers of whoever listens to sends; their names in lower case. */
  readonly carrier: Readonly<Record<string, string>> | undefined
  /** The message that is being handled. */
  readonly cause: Envelope | undefined
}

/** The headers of the sender, and those that Mersal sets: app, time, correlation, cause. */
export function outgoingHeaders(
  given: Readonly<Record<string, string>> | undefined,
  facts: HeaderFacts,
): Record<string, string> {
  // Names of somebody else need an object without a prototype, which is several times slower.
  const headers: Record<string, string> = given === undefined ? {} : checkHeaders(given)
  const { cause } = facts
  headers[headerNames.correlationId] =
    cause === undefined ? facts.id : (inherited(cause, headerNames.correlationId) ?? cause.id)
  if (cause !== undefined) headers[headerNames.causationId] = cause.id
  headers[headerNames.sentAt] = timeText(facts.now)
  headers[headerNames.contentType] = facts.contentType
  headers[headerNames.sender] = facts.app
  if (facts.version !== undefined && facts.version > 1)
    headers[headerNames.version] = String(facts.version)
  if (facts.partitionKey !== undefined) headers[headerNames.partitionKey] = facts.partitionKey
  if (facts.expiresInMs !== undefined)
    headers[headerNames.expiresAt] = new Date(facts.now + facts.expiresInMs).toISOString()
  if (facts.tenant !== undefined) stamp(headers, facts.tenant)
  if (facts.carrier !== undefined) carry(headers, facts.carrier)
  if (facts.replyTo !== undefined) headers[headerNames.replyTo] = facts.replyTo
  if (cause !== undefined) inherit(headers, cause, facts.inherit)
  return headers
}

/** Throws `MERSAL_INVALID_MESSAGE` if the headers name another tenant. */
export function stamp(headers: Record<string, string>, tenant: string): void {
  const given = Object.hasOwn(headers, tenantHeader) ? headers[tenantHeader] : undefined
  headers[tenantHeader] = tenant
  if (given === undefined || given === tenant) return
  const field = `headers['${tenantHeader}']`
  const text = `${field}: this app sends for the tenant '${tenant}'; leave the header out, or send with the app of the other tenant`
  throw new MersalError('MERSAL_INVALID_MESSAGE', text, { details: { field } })
}

/** Carries headers on, unless the sender has set them. */
function inherit(headers: Record<string, string>, cause: Envelope, names: readonly string[]): void {
  const missing = missingIn(headers)
  for (const name of names) {
    if (!missing(name)) continue
    const value = inherited(cause, name)
    if (value !== undefined) headers[name] = value
  }
}

/** As `inherit`. A listener must not fail a send, so what cannot travel is left out. */
function carry(headers: Record<string, string>, carrier: Readonly<Record<string, string>>): void {
  const missing = missingIn(headers)
  for (const [name, value] of Object.entries(carrier)) {
    const travels = isHeaderName(name) && name === name.toLowerCase() && isHeaderValue(value)
    if (travels && !isSetByOthers(name) && missing(name)) headers[name] = value
  }
}

/** Whether a header has yet to be set. The state of one trace says nothing of another. */
function missingIn(headers: Readonly<Record<string, string>>): (name: string) => boolean {
  const ownTrace = Object.hasOwn(headers, headerNames.traceparent)
  return (name) => !Object.hasOwn(headers, name) && !(ownTrace && name === headerNames.tracestate)
}

let lastMs = Number.NaN
let lastText = ''

/** Many messages are sent in the same millisecond. */
function timeText(now: number): string {
  if (now !== lastMs) {
    lastText = new Date(now).toISOString()
    lastMs = now
  }
  return lastText
}

/**
 * A header of the message that is being handled. A value that cannot travel on is left out, since
 * it must not fail the handler.
 */
function inherited(cause: Envelope, name: string): string | undefined {
  const value = Object.hasOwn(cause.headers, name) ? cause.headers[name] : undefined
  return isHeaderValue(value) ? value : undefined
}

/** Checks the headers after the steps of the user: every one must still be able to travel. */
export function travelling(headers: Readonly<Record<string, string>>): Record<string, string> {
  const others: Record<string, string> = {}
  const kept: Record<string, string> = {}
  for (const [name, value] of Object.entries(headers)) {
    if (reservedHeaders.has(name)) kept[name] = replaced(name, value)
    // They come beside the headers of the sender, whose number and size were checked before.
    else if (traceHeaders.includes(name) && isHeaderValue(value)) kept[name] = value
    else others[name] = value
  }
  return { ...checkHeaders(others), ...kept }
}

interface Rule {
  readonly fits: (value: string) => boolean
  /** In words. */
  readonly wanted: string
}

const anyValue: Rule = {
  fits: () => true,
  wanted: 'text of at most 8192 bytes without control characters',
}
const rules: ReadonlyMap<string, Rule> = new Map([
  [headerNames.contentType, { fits: isContentType, wanted: contentTypeRule }],
  [
    headerNames.expiresAt,
    { fits: isTimeText, wanted: 'a time as toISOString() writes it; give expiresInMs instead' },
  ],
])

/** A header that Mersal has set, after the steps of the user. */
function replaced(name: string, value: unknown): string {
  const { fits, wanted } = rules.get(name) ?? anyValue
  if (isHeaderValue(value) && fits(value)) return value
  const text = `headers['${name}']: an outgoing step replaced it by something else than ${wanted}`
  throw new MersalError('MERSAL_INVALID_MESSAGE', text, {
    details: { field: `headers['${name}']` },
  })
}
