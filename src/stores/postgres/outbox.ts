import type { OutboxStorage } from '../../core/outbox.ts'
import type { OpenToQueue } from '../../core/queue-beside-outbox.ts'
import { newMark } from '../../sql/lanes.ts'
import { placeOf } from '../../sql/postgres/pool/place.ts'
import { explain } from '../../sql/postgres/failure.ts'
import { claim, type ClaimPorts } from './claim.ts'
import { postgresClock } from './clock.ts'
import { tokenUuid } from './encode.ts'
import { save, saveLast, type SavePorts } from './save.ts'
import { settle } from './settle.ts'
import { cancel, proving, saveProving, within } from './save-within.ts'

const DAY_MS = 86_400_000
const PRUNING = 'pruning kept messages'

export interface OutboxPorts<Tx> extends SavePorts<Tx>, Omit<ClaimPorts, 'sql'> {
  /**
   * The library opens our units: what a handler does to their transactions is seen by the server
   * alone.
   */
  readonly proves: boolean
  /** 0: confirmed rows are deleted at once. */
  readonly keepSentMs: number
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
    waiting: {
      async upcoming({ limit }) {
        const doing = 'asking which messages fall due next'
        const { rows } = await own.run<{ position: string; in_ms: string }>(
          doing,
          sql.upcoming,
          [limit],
          { often: true },
        )
        return rows.map((row) => ({ position: BigInt(row.position), inMs: Number(row.in_ms) }))
      },
      cancel: (tx, id) => cancel(ports, tx, id),
    },
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
