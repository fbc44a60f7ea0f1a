import { createHash } from 'node:crypto'
import type { DeadLetter, DeadReason } from '../../core/dead-letter.ts'
import { MersalError } from '../../core/errors.ts'
import type { OutgoingMessage } from '../../core/message.ts'
import type { ClaimedMessage } from '../../core/outbox.ts'
import { isUuid } from '../../lib/uuid.ts'
import type { SqlValue } from '../../sql/session.ts'
import { decodeHeaders } from '../../sql/headers.ts'

/** A message as the tables hold it. */
export interface MessageRow {
  readonly position: string
  readonly id: string
  readonly key: string | null
  readonly attempts: number
  readonly type: string
  readonly transport: string
  readonly kind: 'queue' | 'topic'
  readonly name: string
  readonly headers: string
  readonly body: Uint8Array
}

export interface DeadRow extends MessageRow {
  readonly error: string
  readonly dead_reason: string
  readonly maybe_published: boolean
  readonly blocks: boolean
  readonly died_ms: string
}

function refuse(field: string, text: string): never {
  throw new MersalError('MERSAL_INVALID_MESSAGE', `${field}: ${text}`, { details: { field } })
}

/** PostgreSQL stores no NUL and no lone surrogate; refused before a statement could fail and spoil the user's transaction. */
function storable(field: string, text: string): string {
  if (text.includes('\0') || !text.isWellFormed()) refuse(field, 'must be well-formed text without NUL')
  return text
}

/** What a row holds besides its body, as text and numbers that every database library passes on unchanged. */
interface Texts {
  readonly id: string
  readonly key: string | null
  readonly delay: number
  readonly type: string
  readonly transport: string
  readonly kind: 'queue' | 'topic'
  readonly name: string
  readonly headers: string
}

function textsOf(message: OutgoingMessage): Texts {
  if (!isUuid(message.id)) refuse('id', 'must be a UUID')
  for (const [name, value] of Object.entries(message.headers)) storable(`headers['${name.slice(0, 60)}']`, name + value)
  return {
    id: message.id,
    key: message.partitionKey === undefined ? null : storable('partitionKey', message.partitionKey),
    delay: message.delayMs ?? 0,
    type: storable('type', message.type),
    transport: storable('to.transport', message.to.transport),
    kind: message.to.kind,
    name: storable('to.name', message.to.name),
    headers: JSON.stringify(message.headers),
  }
}

/** The parameters of `saveOne`. */
export function encodeMessage(message: OutgoingMessage, token: string | null, graceMs: number): SqlValue[] {
  const { id, key, delay, type, transport, kind, name, headers } = textsOf(message)
  return [id, key, token, graceMs, delay, type, transport, kind, name, headers, message.body]
}

/** The messages as one JSON array, and their bodies in one piece: the first two parameters of `saveMany`. */
export function encodeMessages(messages: readonly OutgoingMessage[]): { readonly json: string; readonly bodies: Uint8Array } {
  const delayed = new Set<string>()
  let start = 0
  const rows = messages.map((message, n) => {
    const texts = textsOf(message)
    // A delayed message holds back the later ones of its key.
    if (texts.delay !== 0 && texts.key !== null) delayed.add(texts.key)
    const express = texts.delay === 0 && (texts.key === null || !delayed.has(texts.key))
    const row = { n, ...texts, express, start, length: message.body.byteLength }
    start += message.body.byteLength
    return row
  })
  return { json: JSON.stringify(rows), bodies: Buffer.concat(messages.map((message) => message.body)) }
}

function messageOf(row: MessageRow, headers: Record<string, string>): OutgoingMessage {
  const { id, type, body, transport, kind, name, key } = row
  const to = { transport, kind, name }
  return key === null ? { id, type, headers, body, to } : { id, type, headers, body, to, partitionKey: key }
}

/** Undefined if the row is damaged. */
export function decodeClaimed(row: MessageRow, token: string): ClaimedMessage | undefined {
  const headers = decodeHeaders(row.headers)
  if (headers === undefined) return undefined
  return { message: messageOf(row, headers), position: BigInt(row.position), attempt: row.attempts, token }
}

export function decodeDead(row: DeadRow): DeadLetter {
  return {
    key: row.position,
    direction: 'outgoing',
    id: row.id,
    type: row.type,
    headers: decodeHeaders(row.headers) ?? {},
    body: row.body,
    place: `${row.transport}/${row.kind}/${row.name}`,
    ...(row.key === null ? {} : { partitionKey: row.key }),
    reason: row.dead_reason as DeadReason,
    error: row.error,
    attempts: row.attempts,
    diedAt: Math.round(Number(row.died_ms)),
    maybePublished: row.maybe_published,
    blocksKey: row.blocks,
  }
}

/** The column is a uuid, 16 bytes instead of any text; a token of another form is represented by a hash of it. */
export function tokenUuid(token: string): string {
  if (isUuid(token)) return token
  const hex = createHash('sha256').update(token).digest('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20, 32)}`
}
