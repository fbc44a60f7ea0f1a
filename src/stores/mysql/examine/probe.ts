import { randomUUID } from 'node:crypto'
import { bytesOf } from '../../../sql/mysql/bytes.ts'
import type { Own } from '../../../sql/mysql/own.ts'
import type { Place } from '../place.ts'

/** A write with its commit, which shows a read-only server and a disk that takes nothing more. */
export async function probe({ tables: T }: Place, own: Own): Promise<void> {
  const id = randomUUID()
  const record = [bytesOf('mersal probe'), bytesOf(id)]
  await own.transaction('probing', async (query) => {
    await query(
      `insert into ${T.inbox} (consumer, message_id, handled_at, recorder, turn) values (?, ?, utc_timestamp(6), ?, 0)`,
      [...record, id],
    )
    await query(`delete from ${T.inbox} where consumer = ? and message_id = ?`, record)
  })
}
