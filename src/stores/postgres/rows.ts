import { createHash } from 'node:crypto'
import type { DeadLetter, DeadReason } from '../../core/dead-letter.ts'
import { MersalError } from '../../core/errors/errors.ts'
import type { OutgoingMessage } from '../../core/messages/message.ts'
import type { ClaimedMessage } from '../../core/outbox.ts'
import { isUuid } from '../../lib/uuid.ts'
import { MOST_FETCHED_BYTES } from '../../sql/postgres/fetched-bytes.ts'
import { checkBodySize } from '../../sql/parts.ts'
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
  /** Set if headers and body were not read. */
  readonly withheld_bytes: string | null
}

export interface DeadRow extends MessageRow {
  /** Tells letters of one position apart; -1: it stayed in the outbox. */
  readonly letter: number
  readonly error: string
  readonly dead_reason: string
  readonly maybe_published: boolean
  readonly blocks: boolean
  readonly died_ms: string
}

function refuse(field: string, text: string): never {
  throw new MersalError('MERSAL_INVALID_MESSAGE', `${field}: ${text}`, { details: { field } })
}

/**
 * PostgreSQL stores no NUL and no lone surrogate; refused before a statement could fail and spoil
 * the user's transaction.
 */
function storable(field: string, text: string): string {
  if (text.includes('\0') || !text.isWellFormed())
    refuse(field, 'must be well-formed text without NUL')
  return text
}

/** Room for headers and names. */
const AROUND_BYTES = 1024 * 1024

/**
 * What a row holds besides its body, as text and numbers that every database library passes on
 * unchanged.
 */
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
  const size = message.body.byteLength
  if (size > MOST_FETCHED_BYTES - AROUND_BYTES) {
    const text = `body: has ${size} bytes, and the relay can read at most ${MOST_FETCHED_BYTES - AROUND_BYTES} from PostgreSQL: put the content elsewhere and send where it is`
    throw new MersalError('MERSAL_TOO_LARGE', text, { details: { field: 'body', size } })
  }
  if (!isUuid(message.id)) refuse('id', 'must be a UUID')
  checkBodySize(message)
  return {
    id: message.id,
    key: message.partitionKey === undefined ? null : storable('partitionKey', message.partitionKey),
    delay: message.delayMs ?? 0,
    type: storable('type', message.type),
    transport: storable('to.transport', message.to.transport),
    kind: message.to.kind,
    name: storable('to.name', message.to.name),
    headers: encodeHeaders(message.headers),
  }
}

function encodeHeaders(headers: Readonly<Record<string, string>>): string {
  const json = JSON.stringify(headers)
  // What PostgreSQL does not store, JSON writes as an escape: only then is it worth a look at each
  // of them.
  if (json.includes('\\u'))
    for (const [name, value] of Object.entries(headers))
      storable(`headers['${name.slice(0, 60)}']`, name + value)
  return json
}

/** The parameters of `saveOne` and `saveOneKeyed`. */
export function encodeMessage(
  message: OutgoingMessage,
  token: string | null,
  graceMs: number,
): SqlValue[] {
  const { id, key, delay, type, transport, kind, name, headers } = textsOf(message)
  const others = [id, token, graceMs, delay, type, transport, kind, name, headers, message.body]
  return key === null ? others : [...others, key]
}

/**
 * The parameters of `saveMany`, and with the last two those of `saveManyKeyed`: arrays as text, the
 * bodies in one piece.
 */
export function encodeMessages(
  messages: readonly OutgoingMessage[],
  token: string | null,
  graceMs: number,
): SqlValue[] {
  const rows = messages.map(textsOf)
  const keys = new Set<string>()
  const delayed = new Set<string>()
  let next = 1
  const starts: number[] = []
  const born: boolean[] = []
  for (const [index, { key, delay }] of rows.entries()) {
    if (key !== null) keys.add(key)
    // A delayed message holds back the later ones of its key.
    if (delay !== 0 && key !== null) delayed.add(key)
    born.push(delay === 0 && (key === null || !delayed.has(key)))
    starts.push(next)
    next += (messages[index] as OutgoingMessage).body.byteLength
  }
  const texts = (column: 'type' | 'transport' | 'name' | 'key'): string =>
    textArray(rows.map((row) => row[column]))
  const plain = (values: readonly (string | number | boolean)[]): string => `{${values.join(',')}}`
  const lane = [token, graceMs, plain(rows.map(({ delay }) => delay)), plain(born)]
  const destinations = [texts('transport'), plain(rows.map(({ kind }) => kind)), texts('name')]
  const bodies = [
    plain(starts),
    plain(messages.map(({ body }) => body.byteLength)),
    Buffer.concat(messages.map(({ body }) => body)),
  ]
  const values = [
    plain(rows.map(({ id }) => id)),
    ...lane,
    texts('type'),
    ...destinations,
    jsonArray(rows.map(({ headers }) => headers)),
    ...bodies,
  ]
  return keys.size === 0 ? values : [...values, texts('key'), textArray([...keys])]
}

const SPECIAL = /["\\]/

/** An array of PostgreSQL as text. */
export function textArray(values: readonly (string | null)[]): string {
  return `{${values.map((value) => (value === null ? 'NULL' : `"${SPECIAL.test(value) ? value.replaceAll(/["\\]/g, '\\$&') : value}"`)).join(',')}}`
}

/**
 * The same for texts of JSON, which hold no control characters: all else JSON escapes as PostgreSQL
 * does, and much faster.
 */
function jsonArray(values: readonly string[]): string {
  return `{${JSON.stringify(values).slice(1, -1)}}`
}

function messageOf(row: MessageRow, headers: Record<string, string>): OutgoingMessage {
  const { id, type, body, transport, kind, name, key } = row
  const to = { transport, kind, name }
  return key === null
    ? { id, type, headers, body, to }
    : { id, type, headers, body, to, partitionKey: key }
}

const withheld = ({ withheld_bytes: bytes }: MessageRow): { readonly withheldBytes?: number } =>
  bytes === null ? {} : { withheldBytes: Number(bytes) }

/** Undefined if the row is damaged. */
export function decodeClaimed(row: MessageRow, token: string): ClaimedMessage | undefined {
  const headers = decodeHeaders(row.headers)
  if (headers === undefined) return undefined
  return {
    message: messageOf(row, headers),
    position: BigInt(row.position),
    attempt: row.attempts,
    token,
    ...withheld(row),
  }
}

export function decodeDead(row: DeadRow): DeadLetter {
  return {
    key: row.letter < 0 ? row.position : `${row.position}.${row.letter}`,
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
    ...withheld(row),
  }
}

/**
 * The column is a uuid, 16 bytes instead of any text; a token of another form is represented by a
 * hash of it.
 */
export function tokenUuid(token: string): string {
  if (isUuid(token)) return token
  const hex = createHash('sha256').update(token).digest('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20, 32)}`
}
