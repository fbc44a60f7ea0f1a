import type { Cancellation } from '../../../core/outbox.ts'
import { newMark } from '../../../sql/lanes.ts'
import { bytesOf } from '../../../sql/mysql/bytes.ts'
import { explain } from '../../../sql/mysql/failure.ts'
import { wholeIn } from '../../../sql/mysql/whole.ts'
import type { Place } from '../place.ts'
import { type Lane, notInTransaction } from '../save.ts'

/**
 * Takes a delayed message back, in the transaction that is open in this very tick: every row with
 * its id. A row that is just being claimed is waited for. One that was there and is no more was
 * published, or taken back by another transaction, meanwhile.
 */
export async function cancel(place: Place, lane: Lane, id: string): Promise<Cancellation> {
  try {
    return await takeBack(place, lane, id)
  } catch (error) {
    throw explain(place.database, error)
  }
}

async function takeBack({ sql }: Place, { run }: Lane, id: string): Promise<Cancellation> {
  const mark = bytesOf(newMark())
  await run(sql.mark, [mark])
  const seen = { taken: false, removed: false, vanished: false }
  for (let last = 0; ; ) {
    const [found] = (await run(sql.findDelayed, [mark, bytesOf(id), last, bytesOf(id)])).rows
    if (wholeIn(found, 'inside') !== 1n) throw notInTransaction()
    if (wholeIn(found, 'taken') === 1n) seen.taken = true
    last = Number(wholeIn(found, 'found'))
    if (last === 0) break
    const [row] = (await run(sql.lockDelayed, [last])).rows
    if (row === undefined) seen.vanished = true
    else if (wholeIn(row, 'free') !== 1n) seen.taken = true
    else {
      await run(sql.removeDelayed, [last, mark])
      seen.removed = true
    }
  }
  if (seen.taken || (seen.removed && seen.vanished)) return 'gone'
  return seen.removed ? 'cancelled' : 'unknown'
}
