import type { ClaimedMessage } from '../../../core/outbox.ts'
import { isLogToken } from '../../../core/commit-log.ts'
import { MersalError } from '../../../core/errors/errors.ts'
import { claimedMessage } from '../../../sql/shared/rows.ts'
import type { LoggedTuple } from './pgoutput.ts'

/** What the publication tells of each row. */
export const LOGGED_COLUMNS =
  'position, id, key, visible_at, token, type, transport, kind, name, headers, body, added_at'

/** A row that was born claimed for the log. */
export interface LoggedRow {
  readonly row: ClaimedMessage
  /** Until when nobody else may take it: microseconds since 2000 by the clock of the server. */
  readonly visibleAt: bigint
  /** How long that was when it was written, in milliseconds. */
  readonly graceMs: number
}

/** Undefined: a claim has to find it. It is free, or of another writer, or no lawful message. */
export function loggedRow(tuple: LoggedTuple): LoggedRow | undefined {
  const token = tuple.get('token')
  if (token?.byteLength !== 16) return undefined
  const uuid = uuidOf(token)
  if (!isLogToken(uuid)) return undefined
  const given = (name: string): Buffer => required(tuple, name)
  const text = (name: string): string => given(name).toString('utf8')
  const key = tuple.get('key')
  const row = claimedMessage(
    {
      position: given('position').readBigInt64BE(),
      id: uuidOf(given('id')),
      partition_key: key == null ? null : key.toString('utf8'),
      attempts: 0,
      type: text('type'),
      transport: text('transport'),
      kind: text('kind') === 'topic' ? 'topic' : 'queue',
      name: text('name'),
      headers: text('headers'),
      // The frame is part of a larger piece of memory, which it would keep.
      body: Uint8Array.from(given('body')),
      withheld_bytes: null,
    },
    uuid,
  )
  if (row instanceof MersalError) return undefined
  const visibleAt = given('visible_at').readBigInt64BE()
  const graceMs = Number(visibleAt - given('added_at').readBigInt64BE()) / 1000
  return { row, visibleAt, graceMs }
}

function required(tuple: LoggedTuple, name: string): Buffer {
  const value = tuple.get(name)
  if (value == null) throw new TypeError(`pgoutput: a row of the outbox without '${name}'`)
  return value
}

function uuidOf(bytes: Buffer): string {
  if (bytes.byteLength !== 16) throw new TypeError('pgoutput: a uuid without 16 bytes')
  const hex = bytes.toString('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}
