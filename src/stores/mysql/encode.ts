import { createHash } from 'node:crypto'
import { MersalError } from '../../core/errors/errors.ts'
import type { OutgoingMessage } from '../../core/messages/message.ts'
import { isUuid } from '../../lib/uuid.ts'
import {
  bytesOf,
  LONGEST_NAME_BYTES,
  microseconds,
  textOf,
  textOrNull,
} from '../../sql/mysql/bytes.ts'
import type { ClaimedRow, MessageRow } from '../../sql/shared/rows.ts'
import { checkStorable, wellFormed } from '../../sql/shared/storable.ts'

/** A message as the tables hold it. */
export interface StoredMessage {
  readonly id: string
  readonly key: string | undefined
  readonly delayMs: number
  /** Id, key, delay, token, type, transport, kind, name, headers, body, due, in this order. */
  readonly values: (token: string | null, waitMs: number) => readonly unknown[]
}

function tooLong(field: string): MersalError {
  return new MersalError(
    'MERSAL_INVALID_MESSAGE',
    `${field}: must have at most ${LONGEST_NAME_BYTES} bytes`,
    { details: { field } },
  )
}

/** A server that is not strict would cut off what is too long, without a word. */
function named(field: string, text: string): Buffer {
  const bytes = bytesOf(text)
  if (bytes.length > LONGEST_NAME_BYTES) throw tooLong(field)
  return bytes
}

/**
 * Everything that can fail without the server fails here. `mostBytes`: of the message as a whole,
 * which must fit into one packet. Throws `MERSAL_INVALID_MESSAGE` or `MERSAL_TOO_LARGE`.
 */
export function storedMessage(message: OutgoingMessage, mostBytes: number): StoredMessage {
  const { id, type, to, partitionKey, delayMs = 0 } = message
  if (!isUuid(id))
    throw new MersalError('MERSAL_INVALID_MESSAGE', 'id: must be a UUID', {
      details: { field: 'id' },
    })
  checkStorable(message, wellFormed)
  const key = partitionKey === undefined ? null : named('partitionKey', partitionKey)
  const typeName = named('type', type)
  const transport = named('to.transport', to.transport)
  const name = named('to.name', to.name)
  const headers = bytesOf(JSON.stringify(message.headers))
  // What is changed while the statement waits for its turn must not be stored.
  const body = Buffer.from(message.body)
  checkSize(type, body.length + headers.length, mostBytes)
  return {
    id,
    key: partitionKey,
    delayMs,
    values: (token, waitMs) => {
      const when = microseconds(waitMs)
      const due = delayMs > 0 ? microseconds(delayMs) : null
      return [id, key, when, token, typeName, transport, to.kind, name, headers, body, due]
    },
  }
}

function checkSize(type: string, size: number, most: number): void {
  if (size <= most) return
  throw new MersalError(
    'MERSAL_TOO_LARGE',
    `the message '${type}' has ${size} bytes, and a packet of this server has room for ${most} (max_allowed_packet): put the content elsewhere and send where it is, or raise that setting`,
    { details: { type, size, limit: most } },
  )
}

/** The column has room for a UUID; a token of another form is represented by a hash of it. */
export function tokenText(token: string): string {
  return isUuid(token) ? token : createHash('sha256').update(token).digest('hex').slice(0, 36)
}

/** The inbox has room for 255 bytes; a longer id keeps its beginning and gets a hash of it all. */
export function trackedId(id: string): Buffer {
  const bytes = bytesOf(id)
  if (bytes.length <= LONGEST_NAME_BYTES) return bytes
  const hash = createHash('sha256').update(bytes).digest('hex')
  return Buffer.concat([bytes.subarray(0, LONGEST_NAME_BYTES - hash.length), bytesOf(hash)])
}

/** The columns of a message as the driver hands them out. */
export type RawRow = Readonly<Record<keyof ClaimedRow, unknown>>

export function messageRow(row: Readonly<Record<keyof MessageRow, unknown>>): MessageRow {
  return {
    id: textOf(row.id),
    type: textOf(row.type),
    transport: textOf(row.transport),
    kind: textOf(row.kind) as 'queue' | 'topic',
    name: textOf(row.name),
    partition_key: textOrNull(row.partition_key),
    headers: textOf(row.headers),
    body: row.body as Uint8Array,
    withheld_bytes: row.withheld_bytes as number | null,
  }
}

export function claimedRow(row: RawRow): ClaimedRow {
  return {
    ...messageRow(row),
    position: String(row.position),
    attempts: Number(row.attempts),
  }
}
