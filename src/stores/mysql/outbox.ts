import type { OutboxStorage, SavedRow, SettleResult, Settlement } from '../../core/outbox.ts'
import { microseconds } from '../../sql/mysql/bytes.ts'
import type { Own } from '../../sql/mysql/own.ts'
import { type BurialPorts, buryDamaged, readClaimed } from '../../sql/shared/claims.ts'
import { claim } from './claim.ts'
import { mysqlClock } from './clock.ts'
import type { Place } from './place.ts'
import { type Lane, save } from './save.ts'
import { renew, settle } from './settle.ts'
import { cancel } from './unit/cancel.ts'
import { within } from './unit/within.ts'

export interface OutboxPorts<Tx> {
  readonly place: Place
  readonly own: Own
  readonly laneOf: (tx: Tx) => Lane
  /** Called after rows were written that no express lane takes. */
  readonly saved: (tx: Tx) => void
  /** 0: confirmed rows are deleted at once. */
  readonly keepSentMs: number
  readonly cannotBury: BurialPorts['cannotBury']
}

interface Due {
  readonly position: string
  readonly in_ms: string
}

export function mysqlOutbox<Tx>(ports: OutboxPorts<Tx>): OutboxStorage<Tx> {
  const { place, own, laneOf, keepSentMs } = ports
  const settling =
    (keepSent: boolean) =>
    (settlements: readonly Settlement[]): Promise<SettleResult> =>
      settle(settlements, { own, sql: place.sql, keepSent })
  const burial = { settle: settling(false), cannotBury: ports.cannotBury }
  return {
    async save(tx, messages, options): Promise<SavedRow[]> {
      const lane = laneOf(tx)
      if (messages.length === 0) return []
      const rows = await save(place, lane, messages, options)
      if (rows.some(({ kind }) => kind === 'row')) ports.saved(tx)
      return rows
    },
    saveWithin: within(place, laneOf, ports.saved),
    async claim(request) {
      const rows = await claim(place, own, request)
      const { messages, damaged } = readClaimed(rows, request.token)
      await buryDamaged(damaged, request, burial)
      return messages
    },
    settle: settling(keepSentMs > 0),
    renew: (claims, { claimMs }) => renew(claims, claimMs, { own, sql: place.sql }),
    async prune({ limit, longerMs = 0 }) {
      if (keepSentMs === 0) return 0
      const values = [microseconds(keepSentMs + longerMs), limit]
      return (await own.run('pruning kept messages', place.sql.pruneSent, values)).changed
    },
    clock: mysqlClock(place, own),
    waiting: {
      async upcoming({ limit }) {
        const doing = 'asking which messages fall due next'
        const { rows } = await own.run<Due>(doing, place.sql.upcoming, [limit])
        return rows.map((row) => ({ position: BigInt(row.position), inMs: Number(row.in_ms) }))
      },
      async cancel(tx, id) {
        const answer = await cancel(place, laneOf(tx), id)
        // Later messages of its key may go.
        if (answer === 'cancelled') ports.saved(tx)
        return answer
      },
    },
  }
}
