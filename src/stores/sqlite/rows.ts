import type { ClaimedMessage } from '../../core/outbox.ts'
import type { DeadLetter, DeadReason } from '../../core/dead-letter.ts'
import { MersalError } from '../../core/errors/errors.ts'
import { destinationKey, type OutgoingMessage } from '../../core/messages/message.ts'
import { decodeHeaders } from '../../sql/headers.ts'
import { problemOf } from '../../sql/lawful-rows.ts'
import { checkBodySize } from '../../sql/parts.ts'

interface MessageRow {
  readonly id: string
  readonly type: string
  readonly transport: string
  readonly kind: 'queue' | 'topic'
  readonly name: string
  readonly partition_key: string | null
  readonly headers: string
  readonly body: Uint8Array
  /** Set if headers and body were not read. */
  readonly withheld_bytes: number | null
}

export interface ClaimedRow extends MessageRow {
  readonly position: number
  readonly attempts: number
}

export interface DeadRow extends MessageRow {
  readonly key: number
  readonly blocks: number
  readonly reason: DeadReason
  readonly error: string
  readonly maybe_published: number
  readonly died_at: number
  readonly attempts: number
}

/** SQLite would store a lone surrogate as another character. Throws `MERSAL_INVALID_MESSAGE`. */
export function checkStorable(message: OutgoingMessage): void {
  const { id, type, to, partitionKey = '' } = message
  checkBodySize(message)
  for (const [field, text] of Object.entries({
    id,
    type,
    partitionKey,
    'to.transport': to.transport,
    'to.name': to.name,
  })) {
    if (text.isWellFormed()) continue
    throw new MersalError('MERSAL_INVALID_MESSAGE', `${field}: must be well-formed text`, {
      details: { field },
    })
  }
}

/** What is wrong with a row whose headers cannot be decoded. */
export function damagedHeaders(): MersalError {
  return new MersalError(
    'MERSAL_INVALID_MESSAGE',
    'the headers of this row are no JSON object of texts',
  )
}

/** Both libraries hand out bytes, one of them as a `Buffer`. */
export function bytes(body: Uint8Array): Uint8Array {
  return new Uint8Array(body.buffer, body.byteOffset, body.byteLength)
}

function outgoing(row: MessageRow, headers: Record<string, string>): OutgoingMessage {
  return {
    id: row.id,
    type: row.type,
    headers,
    body: bytes(row.body),
    to: { transport: row.transport, kind: row.kind, name: row.name },
    ...(row.partition_key === null ? {} : { partitionKey: row.partition_key }),
  }
}

export const withheld = ({
  withheld_bytes: bytes,
}: {
  readonly withheld_bytes: number | null
}): { readonly withheldBytes?: number } => (bytes === null ? {} : { withheldBytes: bytes })

/** The message, or what is wrong with its row. */
export function claimedMessage(row: ClaimedRow, token: string): ClaimedMessage | MersalError {
  const headers = decodeHeaders(row.headers)
  if (headers === undefined) return damagedHeaders()
  // Of one that is too large, only a part was read.
  const problem = row.withheld_bytes === null ? problemOf(row, headers) : undefined
  if (problem !== undefined) return problem
  return {
    message: outgoing(row, headers),
    position: BigInt(row.position),
    attempt: row.attempts,
    token,
    ...withheld(row),
  }
}

export function deadLetter(row: DeadRow): DeadLetter {
  const message = outgoing(row, decodeHeaders(row.headers) ?? {})
  return {
    key: String(row.key),
    direction: 'outgoing',
    id: row.id,
    type: row.type,
    headers: message.headers,
    body: message.body,
    place: destinationKey(message.to),
    ...(row.partition_key === null ? {} : { partitionKey: row.partition_key }),
    reason: row.reason,
    error: row.error,
    attempts: row.attempts,
    diedAt: row.died_at,
    maybePublished: row.maybe_published === 1,
    blocksKey: row.blocks === 1,
    ...withheld(row),
  }
}
