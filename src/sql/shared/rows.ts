import type { DeadLetter, DeadReason } from '../../core/dead-letter.ts'
import { attemptsOf } from '../../core/errors/attempts.ts'
import { MersalError } from '../../core/errors/errors.ts'
import { destinationKey, type OutgoingMessage } from '../../core/messages/message.ts'
import type { ClaimedMessage } from '../../core/outbox.ts'
import { printable } from '../../lib/text.ts'
import { decodeHeaders } from '../headers.ts'
import { problemOf } from '../lawful-rows.ts'

/** A whole number below 2^53, or a time; drivers hand them out as numbers or as text. */
export type Whole = number | bigint | string

/** SQL databases without a type for truth have 0 and 1. */
export type Flag = boolean | number

/** What every statement of every dialect calls the columns of a message that it reads. */
export interface MessageRow {
  readonly id: string
  readonly type: string
  readonly transport: string
  readonly kind: 'queue' | 'topic'
  readonly name: string
  readonly partition_key: string | null
  /** JSON object of texts. */
  readonly headers: string
  readonly body: Uint8Array
  /** Set if headers and body were not read: bytes of the row. */
  readonly withheld_bytes: Whole | null
}

export interface ClaimedRow extends MessageRow {
  readonly position: Whole
  readonly attempts: Whole
}

export interface DeadRow extends MessageRow {
  /** Names the dead letter, in the syntax of its store. */
  readonly key: Whole
  readonly blocks: Flag
  readonly reason: string
  readonly error: string
  readonly maybe_published: Flag
  /** Milliseconds since the Unix epoch. */
  readonly died_at: Whole
  readonly attempts: Whole
  /** Null: nothing was noted, or it was not read. */
  readonly history: string | null
}

export const isTrue = (flag: Flag): boolean => flag === true || flag === 1

/** Drivers hand out bytes as they like, some as a `Buffer`. */
export function bytes(body: Uint8Array): Uint8Array {
  return new Uint8Array(body.buffer, body.byteOffset, body.byteLength)
}

/** What is wrong with a row whose headers cannot be decoded. */
export function damagedHeaders(): MersalError {
  return new MersalError(
    'MERSAL_INVALID_MESSAGE',
    'the headers of this row are no JSON object of texts',
  )
}

export const withheld = ({
  withheld_bytes: size,
}: Pick<MessageRow, 'withheld_bytes'>): { readonly withheldBytes?: number } =>
  size === null ? {} : { withheldBytes: Number(size) }

function messageOf(row: MessageRow, headers: Record<string, string>): OutgoingMessage {
  const { id, type, transport, kind, name, partition_key: partitionKey } = row
  const message = { id, type, headers, body: bytes(row.body), to: { transport, kind, name } }
  return partitionKey === null ? message : { ...message, partitionKey }
}

/** The message, or what is wrong with its row: another program wrote or changed it. */
export function claimedMessage(row: ClaimedRow, token: string): ClaimedMessage | MersalError {
  const headers = decodeHeaders(row.headers)
  if (headers === undefined) return damagedHeaders()
  // Of one that is too large, only a part was read.
  const problem = row.withheld_bytes === null ? problemOf(row, headers) : undefined
  if (problem !== undefined) return problem
  return {
    message: messageOf(row, headers),
    position: BigInt(row.position),
    attempt: Number(row.attempts),
    token,
    ...withheld(row),
  }
}

/** What can be said of a damaged row. Its names may be of any length and hold anything. */
export function damagedMessage(row: ClaimedRow, token: string): ClaimedMessage {
  const { id, type, transport, kind, name } = row
  const cut = (text: string): string => printable(text, 200)
  const to = { transport: cut(transport), kind, name: cut(name) }
  const message = { id: cut(id), type: cut(type), headers: {}, body: bytes(row.body), to }
  return { message, position: BigInt(row.position), attempt: Number(row.attempts), token }
}

export function deadLetter(row: DeadRow): DeadLetter {
  const { to, ...message } = messageOf(row, decodeHeaders(row.headers) ?? {})
  return {
    ...message,
    key: String(row.key),
    direction: 'outgoing',
    place: destinationKey(to),
    reason: row.reason as DeadReason,
    error: row.error,
    attempts: Number(row.attempts),
    history: attemptsOf(row.history),
    diedAt: Math.round(Number(row.died_at)),
    maybePublished: isTrue(row.maybe_published),
    blocksKey: isTrue(row.blocks),
    ...withheld(row),
  }
}
