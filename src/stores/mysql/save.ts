import { MersalError } from '../../core/errors/errors.ts'
import type { OutgoingMessage } from '../../core/messages/message.ts'
import { savedRow, type SavedRow, type SaveOptions } from '../../core/outbox.ts'
import { AROUND_BYTES, bytesOf, textOf } from '../../sql/mysql/bytes.ts'
import type { Run } from '../../sql/mysql/executor.ts'
import { explain, isUnproven } from '../../sql/mysql/failure.ts'
import { partsOf } from '../../sql/parts.ts'
import { type StoredMessage, storedMessage, tokenText } from './encode.ts'
import { slotOf, slotsOf } from '../../sql/mysql/key-slots.ts'
import type { Place } from './place.ts'

/** Most rows of one insert. */
const SAVE_ROWS = 500

/** How a handle is worked with. */
export interface Lane {
  readonly run: Run
  /** Bytes travel as text of twice their length. */
  readonly asText: boolean
  /** Every statement has a snapshot of its own, so that an open row of a key cannot be missed. */
  readonly freshSnapshots: boolean
}

export const notInTransaction = (): MersalError =>
  new MersalError(
    'MERSAL_NOT_A_TRANSACTION',
    'mysql: there is no transaction on this connection, or the one that was open when the message was sent has ended or was rolled back to a savepoint, so nothing was stored: await every call before the transaction ends',
  )

/** What one message may have. */
export function mostBytes({ facts }: Place, { asText }: Pick<Lane, 'asText'>): number {
  return Math.floor((facts.packetBytes - AROUND_BYTES) / (asText ? 2 : 1))
}

/** For a transaction of ours, whose statements nobody overtakes. */
export async function save(
  place: Place,
  lane: Lane,
  messages: readonly OutgoingMessage[],
  { express }: SaveOptions = {},
): Promise<SavedRow[]> {
  const most = mostBytes(place, lane)
  const rows = new Map(messages.map((message) => [message, storedMessage(message, most)]))
  const keys = new Set([...rows.values()].flatMap(({ key }) => key ?? []))
  const allowed = express !== undefined && place.durable
  const waiting = await lockKeys(place, lane, keys, {
    alone: messages.length === 1,
    looks: allowed && lane.freshSnapshots,
  })
  const mayBeBorn = bornRule(waiting)
  const token = express === undefined ? null : tokenText(express.token)
  const saved: SavedRow[] = []
  for (const part of partsOf(messages, SAVE_ROWS, most / 2)) {
    const stored = part.map((message) => {
      const row = rows.get(message) as StoredMessage
      const born = allowed && mayBeBorn(row)
      return {
        row,
        born,
        values: row.values(born ? token : null, born ? express.graceMs : row.delayMs),
      }
    })
    const first = await insert(place, lane, stored)
    for (const [index, { born }] of stored.entries())
      saved.push(savedRow(first + BigInt(index * place.facts.increment), born))
  }
  return saved
}

interface Insert {
  readonly row: StoredMessage
  readonly values: readonly unknown[]
}

/** Returns the first position. */
async function insert(
  { sql, database }: Place,
  { run }: Lane,
  rows: readonly Insert[],
): Promise<bigint> {
  const [only] = rows
  try {
    if (only !== undefined && rows.length === 1) {
      const { text, values } = single(sql, only)
      const { changed, insertId } = await run(text, values, { often: true, tells: 'position' })
      if (changed !== 1) throw notInTransaction()
      return insertId
    }
    const values = rows.flatMap((row) => row.values)
    return (await run(sql.many(rows.length), values, { tells: 'position' })).insertId
  } catch (error) {
    throw isUnproven(error) ? notInTransaction() : explain(database, error)
  }
}

/** The statement of one message, with its key locked in it. */
export function single(
  sql: Place['sql'],
  { row, values }: Insert,
  mark?: string,
): { readonly text: string; readonly values: readonly unknown[] } {
  const more = mark === undefined ? [] : [bytesOf(mark)]
  if (row.key === undefined)
    return { text: mark === undefined ? sql.one : sql.markedOne, values: [...values, ...more] }
  return {
    text: mark === undefined ? sql.oneKeyed : sql.markedOneKeyed,
    values: [...values, slotOf(row.key), ...more],
  }
}

/**
 * Locks all keys, in the order of their slots. Answers which of them have open rows, if the look
 * was allowed; undefined: not known. A key alone is locked by the insert itself.
 */
async function lockKeys(
  { sql, database }: Place,
  { run }: Lane,
  keys: ReadonlySet<string>,
  { alone, looks }: { readonly alone: boolean; readonly looks: boolean },
): Promise<ReadonlySet<string> | undefined> {
  if (keys.size === 0 || (alone && !looks)) return undefined
  const slots = slotsOf(keys)
  try {
    const locked = await run(sql.lock(slots.length), slots)
    if (locked.rows.length !== slots.length) throw missingSlots(database)
    if (!looks) return undefined
    const open = await run(sql.open(keys.size), [...keys].map(bytesOf))
    return new Set(open.rows.map((row) => textOf(row['partition_key'])))
  } catch (error) {
    throw explain(database, error)
  }
}

function missingSlots(database: string): MersalError {
  return new MersalError(
    'MERSAL_SCHEMA_MISSING',
    `mysql: rows of mersal_key_lock are missing in database '${database}', without which keys keep no order: run 'mersal migrate'`,
    { details: { schema: database, refused: true } },
  )
}

/** A delayed message is born free, and so are the later ones of its key. */
function bornRule(waiting: ReadonlySet<string> | undefined): (row: StoredMessage) => boolean {
  const held = new Set<string>()
  return ({ key, delayMs }) => {
    const now = delayMs === 0
    if (key === undefined) return now
    if (!now) held.add(key)
    return now && waiting !== undefined && !waiting.has(key) && !held.has(key)
  }
}
