import { createHash } from 'node:crypto'
import { MersalError } from '../../core/errors/errors.ts'
import type { OutgoingMessage } from '../../core/messages/message.ts'
import { isUuid } from '../../lib/uuid.ts'
import { MOST_FETCHED_BYTES } from '../../sql/postgres/fetched-bytes.ts'
import type { SqlValue } from '../../sql/session.ts'
import { checkStorable, withoutNul } from '../../sql/shared/storable.ts'

/** Room for headers and names. */
const AROUND_BYTES = 1024 * 1024

/**
 * What a row holds besides its body, as text and numbers that every database library passes on
 * unchanged.
 */
export interface Texts {
  readonly id: string
  readonly key: string | null
  readonly delay: number
  readonly type: string
  readonly transport: string
  readonly kind: 'queue' | 'topic'
  readonly name: string
  readonly headers: string
}

export function textsOf(message: OutgoingMessage): Texts {
  const size = message.body.byteLength
  if (size > MOST_FETCHED_BYTES - AROUND_BYTES) {
    const text = `body: has ${size} bytes, and the relay can read at most ${MOST_FETCHED_BYTES - AROUND_BYTES} from PostgreSQL: put the content elsewhere and send where it is`
    throw new MersalError('MERSAL_TOO_LARGE', text, { details: { field: 'body', size } })
  }
  if (!isUuid(message.id))
    throw new MersalError('MERSAL_INVALID_MESSAGE', 'id: must be a UUID', {
      details: { field: 'id' },
    })
  checkStorable(message, withoutNul)
  return {
    id: message.id,
    key: message.partitionKey ?? null,
    delay: message.delayMs ?? 0,
    type: message.type,
    transport: message.to.transport,
    kind: message.to.kind,
    name: message.to.name,
    headers: encodeHeaders(message.headers),
  }
}

function encodeHeaders(headers: Readonly<Record<string, string>>): string {
  const json = JSON.stringify(headers)
  // What PostgreSQL does not store, JSON writes as an escape: only then is it worth a look at each
  // of them.
  if (json.includes('\\u'))
    for (const [name, value] of Object.entries(headers))
      withoutNul(`headers['${name.slice(0, 60)}']`, name + value)
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
  const texts = (column: 'type' | 'transport' | 'name' | 'key'): string =>
    textArray(rows.map((row) => row[column]))
  const plain = (values: readonly (string | number | boolean)[]): string => `{${values.join(',')}}`
  const lane = [token, graceMs, plain(rows.map(({ delay }) => delay)), plain(mayBeBorn(rows))]
  const destinations = [texts('transport'), plain(rows.map(({ kind }) => kind)), texts('name')]
  const bodies = [
    plain(startsOf(messages)),
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
  const keys = new Set<string>()
  for (const { key } of rows) if (key !== null) keys.add(key)
  return keys.size === 0 ? values : [...values, texts('key'), textArray([...keys])]
}

/** Which rows may be born claimed: a delayed message holds back the later ones of its key. */
export function mayBeBorn(rows: readonly Pick<Texts, 'key' | 'delay'>[]): boolean[] {
  const delayed = new Set<string>()
  return rows.map(({ key, delay }) => {
    if (delay !== 0 && key !== null) delayed.add(key)
    return delay === 0 && (key === null || !delayed.has(key))
  })
}

/** Where each body begins in the one piece, counted from 1 as PostgreSQL does. */
function startsOf(messages: readonly OutgoingMessage[]): number[] {
  let next = 1
  return messages.map(({ body }) => {
    const start = next
    next += body.byteLength
    return start
  })
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

/**
 * The column is a uuid, 16 bytes instead of any text; a token of another form is represented by a
 * hash of it.
 */
export function tokenUuid(token: string): string {
  if (isUuid(token)) return token
  const hex = createHash('sha256').update(token).digest('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20, 32)}`
}
