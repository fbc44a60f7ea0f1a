import { CLAIM_BYTES, LARGEST_ROW_BYTES } from '../../core/messages/bytes.ts'
import {
  type ClaimedMessage,
  type ClaimRequest,
  type OutboxStorage,
  SET_ASIDE_MS,
} from '../../core/outbox.ts'
import type { OpenToQueue } from '../../core/straight.ts'
import { newMark } from '../../sql/lanes.ts'
import { placeOf } from '../../sql/postgres/pool/place.ts'
import { MOST_FETCHED_BYTES } from '../../sql/postgres/fetched-bytes.ts'
import { explain } from '../../sql/postgres/failure.ts'
import type { Own } from '../../sql/postgres/pool/pool.ts'
import { postgresClock } from './clock.ts'
import { decodeClaimed, type MessageRow, tokenUuid } from './rows.ts'
import { save, saveLast, type SavePorts } from './save.ts'
import { settle } from './settle.ts'
import type { Statements } from './statements/statements.ts'
import { proving, saveProving, within } from './unit/within.ts'
import type { Vacuum } from './vacuum.ts'

const DAY_MS = 86_400_000
const PRUNING = 'pruning kept messages'

export interface OutboxPorts<Tx> extends SavePorts<Tx> {
  /**
   * The library opens our units: what a handler does to their transactions is seen by the server
   * alone.
   */
  readonly proves: boolean
  readonly own: Own
  readonly vacuum: Pick<Vacuum, 'deleted' | 'idle'>
  /** 0: confirmed rows are deleted at once. */
  readonly keepSentMs: number
  /** A damaged row cannot be stored as a dead letter. */
  readonly cannotBury: (cause: unknown) => void
}

export function postgresOutbox<Tx>(ports: OutboxPorts<Tx>): OutboxStorage<Tx> {
  const { own, sql, keepSentMs, vacuum } = ports
  return {
    openToQueue: openToQueue(ports),
    save: (tx, messages, { express } = {}) =>
      ports.proves ? saveProving(ports, tx, messages, express) : save(ports, tx, messages, express),
    saveLast: (tx, messages, options = {}) => saveLast(ports, tx, messages, options.express),
    saveWithin: within(ports),
    claim: (request) => claim(ports, request),
    async settle(settlements) {
      const result = await settle(settlements, { own, sql, keepSent: keepSentMs > 0 })
      vacuum.deleted(settlements.length - result.stale)
      return result
    },
    async renew(claims, { claimMs }) {
      // Sorted, so that two of these lock rows in the same order.
      const sorted = [...claims].sort((a, b) => (a.position < b.position ? -1 : 1))
      const values = [
        sorted.map(({ position }) => position.toString()),
        sorted.map(({ token }) => tokenUuid(token)),
        claimMs,
      ]
      await own.run('renewing claims', sql.renew, values)
    },
    prune: ({ limit, longerMs = 0 }) => prune(ports, limit, longerMs),
    clock: postgresClock(own, ports.schema),
  }
}

/** A queue in this schema may write in the transactions of the outbox. */
function openToQueue<Tx>(ports: OutboxPorts<Tx>): OpenToQueue<Tx> {
  const { own, schema, session, notes } = ports
  return {
    place: () => placeOf(own, schema),
    async query(tx, text, values, options) {
      if (ports.proves)
        return proving(ports, tx, { mark: newMark(), only: false }).run(text, values, options)
      try {
        const result = await session.executor(tx).query(text, [...values, null, false], options)
        notes.saved(tx, result.rows[0]?.['xact'] as string | undefined, false)
        return result
      } catch (error) {
        throw explain(schema, error)
      }
    },
  }
}

async function claim<Tx>(ports: OutboxPorts<Tx>, request: ClaimRequest): Promise<ClaimedMessage[]> {
  const token = tokenUuid(request.token)
  const from = (request.fromPosition ?? 0n).toString()
  const { maxBytes = CLAIM_BYTES, largestBytes = LARGEST_ROW_BYTES, stretch } = request
  const largest = Math.min(largestBytes, MOST_FETCHED_BYTES)
  const values = [
    request.limit,
    request.claimMs,
    token,
    from,
    maxBytes,
    stretch?.rows ?? null,
    largest,
  ]
  const { text, more } = formOf(ports.sql, request)
  const answer = await ports.own.run<ClaimRow>('claiming messages', text, [...values, ...more], {
    often: true,
  })
  const [{ next, last } = { next: null, last: null }] = answer.rows
  if (next !== null && last !== null) stretch?.stopped({ next: BigInt(next), last: BigInt(last) })
  const rows = answer.rows.filter((row): row is MessageRow & ClaimRow => row.position !== null)
  if (rows.length === 0) ports.vacuum.idle()
  const claimed: ClaimedMessage[] = []
  const damaged: MessageRow[] = []
  for (const row of rows) {
    const message = decodeClaimed(row, request.token)
    if (message === undefined) damaged.push(row)
    else claimed.push(message)
  }
  if (damaged.length > 0) await bury(ports, damaged, request.token)
  return claimed.sort((a, b) => (a.position < b.position ? -1 : 1))
}

/** One row for each claimed one, or a single row without a message. */
interface ClaimRow extends Omit<MessageRow, 'position'> {
  readonly position: string | null
  readonly next: string | null
  readonly last: string | null
}

function formOf(
  sql: Statements,
  request: ClaimRequest,
): { readonly text: string; readonly more: readonly unknown[] } {
  const { exceptDestinations = [], exceptKeys = [], keys } = request
  if (keys !== undefined)
    return { text: sql.claimKeys, more: [exceptDestinations, exceptKeys, [...new Set(keys)]] }
  if (exceptDestinations.length + exceptKeys.length > 0)
    return { text: sql.claimExcept, more: [exceptDestinations, exceptKeys] }
  return { text: sql.claim, more: [] }
}

/** Rows that somebody has changed into something that is no message must not stop the others. */
async function bury<Tx>(
  ports: OutboxPorts<Tx>,
  rows: readonly MessageRow[],
  token: string,
): Promise<void> {
  const error = new Error('the headers of this row are no JSON object of texts')
  const settlements = rows.map((row) => ({
    ...({
      kind: 'dead',
      position: BigInt(row.position),
      token,
      reason: 'malformed',
      error,
    } as const),
    ...({ onDead: 'skip', maybePublished: false } as const),
  }))
  const to = { own: ports.own, sql: ports.sql, keepSent: false }
  try {
    await settle(settlements, to)
  } catch (cause) {
    // What cannot be buried must not stop the others either.
    ports.cannotBury(cause)
    const aside = settlements.map(
      ({ position }) =>
        ({ kind: 'release', position, token, delayMs: SET_ASIDE_MS, error }) as const,
    )
    await settle(aside, to)
  }
}

/**
 * Days that are over go as whole partitions; rows one by one only if they are kept for less than a
 * day.
 */
async function prune<Tx>(ports: OutboxPorts<Tx>, limit: number, longerMs: number): Promise<number> {
  const { own, sql } = ports
  if (ports.keepSentMs === 0) return 0
  const keepSentMs = ports.keepSentMs + longerMs
  // Each by itself: a dropped partition locks the whole table until its transaction ends.
  await own.run(PRUNING, sql.partitions, [])
  const dropped = await own.run<{ dropped: string }>(PRUNING, sql.dropPartitions, [keepSentMs])
  const deleted =
    ports.keepSentMs < DAY_MS
      ? await own.run(PRUNING, sql.pruneSent, [keepSentMs, limit])
      : { rowCount: 0 }
  return Number(dropped.rows[0]?.dropped ?? 0) + (deleted.rowCount ?? 0)
}
