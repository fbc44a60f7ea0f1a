import type { Cancellation } from '../../../core/outbox.ts'
import { newMark } from '../../../sql/lanes.ts'
import { bytesOf } from '../../../sql/mysql/bytes.ts'
import { explain } from '../../../sql/mysql/failure.ts'
import { wholeIn } from '../../../sql/mysql/whole.ts'
import type { Place } from '../place.ts'
import { type Lane, notInTransaction } from '../save.ts'

/**
 * Takes a delayed message back, in the transaction that is open in this very tick. A row that is
 * just being claimed is waited for. One that was there and is no more was published meanwhile.
 */
export async function cancel(place: Place, lane: Lane, id: string): Promise<Cancellation> {
  try {
    return await find(place, lane, id)
  } catch (error) {
    throw explain(place.database, error)
  }
}

async function find({ sql }: Place, { run }: Lane, id: string): Promise<Cancellation> {
  const mark = bytesOf(newMark())
  await run(sql.mark, [mark])
  const look = async (): Promise<bigint> => {
    const [row] = (await run(sql.findDelayed, [mark, bytesOf(id)])).rows
    if (wholeIn(row, 'inside') !== 1n) throw notInTransaction()
    return wholeIn(row, 'found')
  }
  const position = Number(await look())
  if (position === 0) return 'unknown'
  const [row] = (await run(sql.lockDelayed, [position])).rows
  if (row === undefined || wholeIn(row, 'free') !== 1n) return 'gone'
  await run(sql.removeDelayed, [position, mark])
  await look()
  return 'cancelled'
}
