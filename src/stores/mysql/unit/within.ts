import type { OutgoingMessage } from '../../../core/messages/message.ts'
import { type OutboxStorage, savedRow, type SavedRow } from '../../../core/outbox.ts'
import { newMark } from '../../../sql/lanes.ts'
import { bytesOf } from '../../../sql/mysql/bytes.ts'
import { explain } from '../../../sql/mysql/failure.ts'
import { storedMessage } from '../encode.ts'
import { slotsOf } from '../../../sql/mysql/key-slots.ts'
import type { Place } from '../place.ts'
import { type Lane, mostBytes, notInTransaction, single } from '../save.ts'

/** The calls on one handle that have not ended. */
interface Line {
  tail: Promise<unknown>
  /** Calls that have not sent their statements yet. */
  late: number
}

/**
 * Messages for transactions of somebody else, which may end at any moment: a caller that forgets to
 * await us sends ROLLBACK or COMMIT before our statements, and lends the connection to others. ADR
 * 0142 lists the interleavings.
 *
 * A connection runs statements in the order in which they were given to it. So what is sent in the
 * tick of the call runs before whatever its caller sends next. What cannot be sent yet leaves a
 * mark in the transaction in that tick, and is stored only where that mark is found again.
 */
export function within<Tx>(
  place: Place,
  laneOf: (tx: Tx) => Lane,
  saved: (tx: Tx) => void,
): NonNullable<OutboxStorage<Tx>['saveWithin']> {
  const lines = new WeakMap<object, Line>()

  async function late(
    lane: Lane,
    line: Line,
    messages: Parameters<NonNullable<OutboxStorage<Tx>['saveWithin']>>[1],
  ): Promise<SavedRow[]> {
    const mark = newMark()
    const before = line.tail
    line.late++
    try {
      await lane.run(place.sql.mark, [bytesOf(mark)])
      await before
      return await saveEach(place, lane, await messages, mark)
    } finally {
      line.late--
    }
  }

  return async (tx, messages) => {
    const lane = laneOf(tx)
    const line = lines.get(tx as object) ?? { tail: Promise.resolve(), late: 0 }
    lines.set(tx as object, line)
    const going =
      'then' in messages || line.late > 0
        ? late(lane, line, messages)
        : saveEach(place, lane, messages, undefined)
    // Whoever comes next needs the turn, not the result.
    line.tail = Promise.allSettled([line.tail, going])
    const rows = await going
    saved(tx)
    return rows
  }
}

/**
 * One statement for each message, all of them sent in this tick: each proves its transaction and
 * locks its key by itself, so that none depends on how another one went. Several keys are locked
 * before, in the order of their slots, so that two writers do not wait for each other in a circle.
 */
async function saveEach(
  place: Place,
  lane: Lane,
  messages: readonly OutgoingMessage[],
  mark: string | undefined,
): Promise<SavedRow[]> {
  const most = mostBytes(place, lane)
  const rows = messages.map((message) => storedMessage(message, most))
  const slots = slotsOf(rows.flatMap(({ key }) => key ?? []))
  const sent: Promise<SavedRow | undefined>[] = []
  if (slots.length > 1)
    sent.push(lane.run(place.sql.lock(slots.length), slots).then(() => undefined))
  for (const row of rows) {
    const { text, values } = single(place.sql, { row, values: row.values(null, row.delayMs) }, mark)
    sent.push(
      lane.run(text, values, { often: true, tells: 'position' }).then(({ changed, insertId }) => {
        if (changed !== 1) throw notInTransaction()
        return savedRow(insertId, false)
      }),
    )
  }
  // None is left behind without somebody who looks at it.
  const settled = await Promise.allSettled(sent)
  const failed = settled.find((one) => one.status === 'rejected')
  if (failed !== undefined) throw explain(place.database, failed.reason)
  return settled.flatMap((one) => (one.status === 'fulfilled' ? (one.value ?? []) : []))
}
