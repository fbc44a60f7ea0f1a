import { headers as makeHeaders, type Msg, type MsgHdrs } from '@nats-io/transport-node'
import {
  ATTRIBUTE,
  isCloudEvent,
  percentDecoded,
  percentEncoded,
} from '../../../core/messages/cloud-events.ts'
import { type Envelope, headerNames } from '../../../core/messages/message.ts'
import { byteLength, hasControlCharacters } from '../../../lib/text.ts'

/** Headers of our own on a message in NATS. */
export const ownHeaders = {
  id: 'Mersal-Id',
  type: 'Mersal-Type',
  /** JSON: what NATS does not carry as it is, such as a value that ends in a space. */
  rest: 'Mersal-Rest',
  reason: 'Mersal-Reason',
  error: 'Mersal-Error',
  attempts: 'Mersal-Attempts',
  diedAt: 'Mersal-Died-At',
} as const

/** By this JetStream knows a message that it has stored already. */
const MESSAGE_ID = 'Nats-Msg-Id'
/** Names that mean something to NATS or to us. */
const OURS = /^(?:nats|mersal)-/i
const TOKEN = /^[\w!#$%&'*+.^|~-]+$/

/** The client trims values, and NATS has no line breaks in them. */
function isPlain(value: string): boolean {
  return value.trim() === value && value.isWellFormed() && !hasControlCharacters(value)
}

interface Rest {
  readonly id?: string
  readonly type?: string
  readonly headers?: Readonly<Record<string, string>>
}

/** `messageId`: what is sent twice with the same one is stored once. */
export function toHeaders(
  { id, type, headers }: Pick<Envelope, 'id' | 'type' | 'headers'>,
  messageId: string,
): MsgHdrs {
  const wire = makeHeaders()
  // First, since the server looks for this name in the text of all of them.
  // What is written in another form must not look like the plain form of something else.
  if (isPlain(messageId) && !messageId.includes('%')) wire.set(MESSAGE_ID, messageId)
  else wire.set(MESSAGE_ID, encodeURIComponent(messageId.toWellFormed()))
  const rest: { id?: string; type?: string; headers?: Record<string, string> } = {}
  if (isPlain(id)) wire.set(ownHeaders.id, id)
  else rest.id = id
  if (isPlain(type)) wire.set(ownHeaders.type, type)
  else rest.type = type
  const others: [string, string][] = []
  const attributes = isCloudEvent(headers)
  if (attributes && headers[headerNames.contentType] !== undefined)
    wire.set(`${ATTRIBUTE}datacontenttype`, percentEncoded(headers[headerNames.contentType] ?? ''))
  for (const [name, given] of Object.entries(headers)) {
    const value = attributes && name.startsWith(ATTRIBUTE) ? percentEncoded(given) : given
    if (TOKEN.test(name) && !OURS.test(name) && isPlain(value)) wire.set(name, value)
    else others.push([name, given])
  }
  if (others.length > 0) rest.headers = Object.fromEntries(others)
  if (Object.keys(rest).length > 0) wire.set(ownHeaders.rest, asciiJson(rest))
  return wire
}

/** The same headers for a stream that has to store the message whatever it knows. */
export function withMessageId(wire: MsgHdrs | undefined, messageId: string): MsgHdrs {
  const other = makeHeaders()
  other.set(MESSAGE_ID, messageId)
  return withOthers(other, wire)
}

/** The same headers without what tells a stream that it knows the message. */
export function withoutMessageId(wire: MsgHdrs | undefined): MsgHdrs {
  return withOthers(makeHeaders(), wire)
}

function withOthers(other: MsgHdrs, wire: MsgHdrs | undefined): MsgHdrs {
  for (const name of wire?.keys() ?? [])
    if (name !== MESSAGE_ID) for (const value of wire?.values(name) ?? []) other.append(name, value)
  return other
}

/** No character in it means anything to NATS. */
export function asciiJson(value: unknown): string {
  return JSON.stringify(value).replaceAll(
    /[^ -~]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

function restOf(wire: MsgHdrs): Rest {
  const text = wire.get(ownHeaders.rest)
  if (text === '') return {}
  try {
    const parsed: unknown = JSON.parse(text)
    return typeof parsed === 'object' && parsed !== null ? parsed : {}
  } catch {
    // A foreign header of that name.
    return {}
  }
}

/** Bytes of the headers as they travel: `max_payload` of the server counts them with the body. */
export function headerBytes(wire: MsgHdrs): number {
  let bytes = 'NATS/1.0\r\n\r\n'.length
  for (const name of wire.keys())
    for (const value of wire.values(name)) bytes += byteLength(name) + byteLength(value) + 4
  return bytes
}

const attribute = (name: string, value: string): string =>
  name.startsWith(ATTRIBUTE) ? percentDecoded(value) : value

/**
 * What came without an id or a type has empty texts there. A foreign sender may give the id only to
 * JetStream.
 */
export function toEnvelope({ headers: wire, data }: Pick<Msg, 'headers' | 'data'>): Envelope {
  if (wire === undefined) return { id: '', type: '', headers: {}, body: data }
  const rest = restOf(wire)
  const attributes = wire.has(`${ATTRIBUTE}specversion`)
  const plain = [...wire.keys()]
    .filter((name) => !OURS.test(name))
    .map((name) => [name.toLowerCase(), wire.last(name)] as const)
    .map(([name, value]) => [name, attributes ? attribute(name, value) : value] as const)
  return {
    id: wire.has(ownHeaders.id) ? wire.get(ownHeaders.id) : (rest.id ?? wire.get(MESSAGE_ID)),
    type: wire.get(ownHeaders.type) || (rest.type ?? ''),
    headers: Object.fromEntries([...plain, ...Object.entries(rest.headers ?? {})]),
    body: data,
  }
}
