import { randomUUID } from 'node:crypto'
import type { MessageTracker, TrackerKeys } from '../../core/tracker.ts'
import { bytesOf, microseconds } from '../../sql/mysql/bytes.ts'
import { explain } from '../../sql/mysql/failure.ts'
import { onlyRow, type Own } from '../../sql/mysql/own.ts'
import { NOW_MS } from '../../sql/mysql/server.ts'
import { wholeIn } from '../../sql/mysql/whole.ts'
import { trackedId } from './encode.ts'
import type { Place } from './place.ts'
import { type Lane, notInTransaction } from './save.ts'

export interface TrackerPorts<Tx> {
  readonly place: Place
  readonly own: Own
  readonly laneOf: (tx: Tx) => Lane
  /** Whether a unit on this handle that has failed may have been committed all the same. */
  readonly mayHaveEnded: (tx: Tx) => boolean
}

/** Who has recorded: a name of its own for each transaction, and the number of the call. */
interface RecorderOf {
  readonly name: string
  turns: number
}

/** The inbox table. */
export function mysqlTracker<Tx>(ports: TrackerPorts<Tx>): MessageTracker<Tx> {
  const { place, own, laneOf } = ports
  const recorders = new WeakMap<object, RecorderOf>()
  const recorderOf = (tx: Tx): RecorderOf => {
    const known = recorders.get(tx as object) ?? { name: randomUUID(), turns: 0 }
    recorders.set(tx as object, known)
    known.turns++
    return known
  }
  const explained = async <Result>(work: () => Promise<Result>): Promise<Result> => {
    try {
      return await work()
    } catch (error) {
      throw explain(place.database, error)
    }
  }
  return {
    async track(tx, { consumer, messageId }) {
      const { run } = laneOf(tx)
      const { name, turns } = recorderOf(tx)
      const values = [bytesOf(consumer), trackedId(messageId), name, turns]
      const { changed } = await explained(() =>
        run(place.sql.track, values, { often: true, tells: 'hits' }),
      )
      // The record that is there was hit: that counts as two.
      if (changed === 0) throw notInTransaction()
      return changed === 1 ? 'first' : 'duplicate'
    },
    many: {
      track: (tx, keys) =>
        explained(async () =>
          keys.messageIds.length === 0
            ? []
            : await trackMany(place, laneOf(tx), recorderOf(tx), keys),
        ),
    },
    endings: {
      recorder(tx) {
        const known = recorders.get(tx as object)
        return known === undefined
          ? undefined
          : { transaction: known.name, suspect: ports.mayHaveEnded(tx) }
      },
      async forget(transaction, { consumer, messageIds }) {
        if (messageIds.length === 0) return 0
        const values = [bytesOf(consumer), messageIds.map(trackedId), bytesOf(transaction)]
        return (await own.run('taking records out of the inbox', place.sql.forget, values)).changed
      },
    },
    async prune({ olderThanMs, limit }) {
      const values = [microseconds(olderThanMs), limit]
      return (await own.run('pruning the inbox', place.sql.pruneInbox, values)).changed
    },
    async now() {
      const answer = await own.run<{ now: string }>('reading the clock', `select ${NOW_MS} as now`)
      return Number(onlyRow(answer).now)
    },
  }
}

/** In an order of their own, so that two of these never wait for each other in a circle. */
async function trackMany(
  { sql }: Place,
  { run }: Lane,
  { name, turns }: RecorderOf,
  { consumer, messageIds }: TrackerKeys,
): Promise<('first' | 'duplicate')[]> {
  const ids = messageIds.map(trackedId)
  const sorted = [...ids].sort((a, b) => a.compare(b))
  const owner = bytesOf(consumer)
  const given = sorted.flatMap((id, index) => [index, id])
  const values = [owner, name, turns, ...given]
  const { changed } = await run(sql.trackMany(ids.length), values, { tells: 'hits' })
  if (changed === 0) throw notInTransaction()
  const mine = await run(sql.tracked(ids.length), [...ids, owner, ...ids, name, turns])
  // By numbers: a library may hand out texts in a form of its own.
  const made = new Set(mine.rows.map((row) => Number(wholeIn(row, 'n'))))
  return ids.map((_, index) => (made.has(index) ? 'first' : 'duplicate'))
}
