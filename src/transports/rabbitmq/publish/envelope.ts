import { createHash, randomUUID } from 'node:crypto'
import type { Message, MessageProperties, Options } from 'amqplib'
import { amqpAttribute, fromAmqp, isCloudEvent } from '../../../core/messages/cloud-events.ts'
import { type Envelope, headerNames } from '../../../core/messages/message.ts'
import { byteLength, printable } from '../../../lib/text.ts'
import { BUNDLE_CONTENT_TYPE } from '../bundles/bundle-format.ts'

/** Headers with this beginning belong to this transport and never reach a handler. */
const OWN = 'x-mersal-'
export const ownHeaders = {
  /** Number of the next delivery. */
  attempt: 'x-mersal-attempt',
  /** Milliseconds to wait after this retry queue, for delays above the longest one. */
  wait: 'x-mersal-wait',
  deadKey: 'x-mersal-dead-key',
  reason: 'x-mersal-reason',
  error: 'x-mersal-error',
  attempts: 'x-mersal-attempts',
  diedAt: 'x-mersal-died-at',
  /** The same for all copies of one message, from its first retry on. */
  lineage: 'x-mersal-lineage',
  /**
   * Milliseconds since the Unix epoch: since when the handler has been asking for it again later.
   */
  postponedSince: 'x-mersal-postponed-since',
  /** How often its dead letter could not be stored; with its reason and error. */
  aside: 'x-mersal-aside',
  /** JSON: the last ten failures, oldest first. */
  history: 'x-mersal-history',
  /** Of a message that holds its key: names this copy of it. */
  copy: 'x-mersal-copy',
  /** Its delivery has begun, in the hands of the process that wrote the copy. */
  begun: 'x-mersal-begun',
  /** Milliseconds since the Unix epoch: not before. */
  dueAt: 'x-mersal-due-at',
  /** Milliseconds: no process waits for longer than this, whatever the clocks say. */
  delay: 'x-mersal-delay',
  /** It may be in its partition already: it was on its way there when a process went. */
  again: 'x-mersal-again',
  /** Everything that was in the queue before it has come; no message. */
  barrier: 'x-mersal-barrier',
} as const

/** Set by RabbitMQ when it moves or redelivers a message. */
const OF_THE_BROKER =
  /^x-(?:death|first-death-\w+|last-death-\w+|delivery-count|acquired-count|opt-\w+)$/

export type HeaderTable = Readonly<Record<string, unknown>>

function transient(name: string): boolean {
  return name.startsWith(OWN) || OF_THE_BROKER.test(name)
}

/** Without what belongs to the transport and to the broker. */
export function withoutTransient(headers: HeaderTable): HeaderTable {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !transient(name)))
}

export function headerTable(message: {
  readonly properties: Pick<MessageProperties, 'headers'>
}): HeaderTable {
  return message.properties.headers ?? {}
}

function textOf(value: unknown): string {
  if (typeof value === 'string') return value
  if (typeof value === 'number' || typeof value === 'boolean') return String(value)
  return Buffer.isBuffer(value) ? value.toString('utf8') : (JSON.stringify(value) ?? '')
}

const text = (value: unknown): string => (typeof value === 'string' ? value : '')

type TextProperty = 'correlationId' | 'contentType' | 'appId'

/**
 * Headers for which AMQP has a property, which costs the broker and the client a fraction of an
 * entry in the table of headers.
 */
const asProperties: readonly (readonly [header: string, property: TextProperty])[] = [
  [headerNames.correlationId, 'correlationId'],
  [headerNames.contentType, 'contentType'],
  [headerNames.sender, 'appId'],
]
const propertyNames: ReadonlyMap<string, TextProperty> = new Map(asProperties)

/**
 * Whatever came, as an envelope. Headers of other types become text; a missing id or type is empty.
 */
export function toEnvelope(message: Message): Envelope {
  const { messageId, type } = message.properties
  const entries = Object.entries(headerTable(message)).filter(([name]) => !transient(name))
  // `fromEntries` makes own fields, so that a header named __proto__ is only a header.
  const headers = Object.fromEntries(
    entries.map(([name, value]) => [fromAmqp(name), textOf(value)]),
  )
  for (const [header, property] of asProperties) {
    const value = text(message.properties[property])
    if (headers[header] === undefined && value !== '') headers[header] = value
    // Two that say different things are no content type that anybody reads.
    else if (
      header === headerNames.contentType &&
      value !== '' &&
      headers[header]?.toLowerCase() !== value.toLowerCase()
    ) {
      headers[header] = `${value}, ${headers[header]}`
    }
  }
  return { id: text(messageId), type: text(type), headers, body: new Uint8Array(message.content) }
}

/** A short string of AMQP has at most 255 bytes. An empty one would not be told from none. */
const fitsProperty = (value: string): boolean =>
  value !== '' && (value.length <= 85 || byteLength(value) <= 255)

/**
 * Properties of a new message: its headers, each as a property if there is one and it fits, or else
 * in the table of headers.
 */
export function toProperties({ id, type, headers }: Envelope): Options.Publish {
  const table: Record<string, string> = {}
  const properties: Options.Publish = { messageId: id, type, headers: table }
  const nameOf = isCloudEvent(headers) ? amqpAttribute : (name: string): string => name
  for (const name in headers) {
    const value = headers[name] as string
    const property = propertyNames.get(name)
    if (property !== undefined && fitsProperty(value)) properties[property] = value
    else table[nameOf(name)] = value
  }
  return properties
}

/** Names of ours that nothing can be wrong with, which nearly all messages have. */
const blameless: ReadonlySet<string> = new Set(
  Object.values(headerNames).filter((name) => name !== headerNames.contentType),
)

/**
 * Why these headers cannot arrive as they are: the consumer would take them for its own, the client
 * would lose them, or one would win.
 */
export function headerProblem(headers: Envelope['headers']): string | undefined {
  for (const name of Object.keys(headers)) {
    if (blameless.has(name)) continue
    const lower = name.toLowerCase()
    if (lower === headerNames.contentType && headers[name] === BUNDLE_CONTENT_TYPE)
      return `the content type '${BUNDLE_CONTENT_TYPE}' belongs to the transport`
    if (transient(lower) || name === '__proto__')
      return `the header '${printable(name, 60)}' belongs to the transport`
    if (lower !== name && Object.hasOwn(headers, lower))
      return `the header '${printable(lower, 60)}' is given twice, in different case`
  }
  return undefined
}

/**
 * Properties of a copy of a message that came: all of its own, without what would make the broker
 * drop (`expiration`) or refuse (`userId`) the copy, and without the traces of its way.
 */
export function copyProperties(message: Message, extra: HeaderTable): Options.Publish {
  const {
    expiration: _,
    userId: __,
    clusterId: ___,
    deliveryMode: ____,
    headers: _____,
    ...kept
  } = message.properties
  const given = Object.fromEntries(Object.entries(kept).filter(([, value]) => value !== undefined))
  return { ...given, headers: { ...withoutTransient(headerTable(message)), ...extra } }
}

export function toBuffer(body: Uint8Array): Buffer {
  return Buffer.from(body.buffer, body.byteOffset, body.byteLength)
}

/**
 * A whole number of at least `least` in a header that anybody may have written; else the preset.
 */
export function numberIn(
  headers: HeaderTable,
  name: string,
  least: number,
  preset: number,
): number {
  const value = Number(headers[name])
  return headers[name] !== undefined && Number.isSafeInteger(value) && value >= least
    ? value
    : preset
}

/**
 * Counts deliveries from 1: what the header of the last retry says, plus what the broker counted
 * since. A quorum queue counts exactly; a classic queue only tells that there was one before.
 */
export function attemptOf(message: Message): number {
  const headers = headerTable(message)
  const base = numberIn(headers, ownHeaders.attempt, 1, 1)
  return base + numberIn(headers, 'x-delivery-count', 0, message.fields.redelivered ? 1 : 0)
}

/**
 * Copies of one message share the key of their dead letter, so that they are one letter; what has
 * no id is never one with another.
 */
export function deadKeyOf({
  properties,
  content,
}: Pick<Message, 'properties' | 'content'>): string {
  if (typeof properties.messageId !== 'string' || properties.messageId === '') return randomUUID()
  return contentKey(properties.messageId, content)
}

export function contentKey(id: unknown, content: Buffer): string {
  const hash = createHash('sha256').update(String(id)).update('\0').update(content).digest('hex')
  return `sha256-${hash.slice(0, 32)}`
}
