import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type * as Sqlite from '../../../src/sqlite.ts'
import { type Body, DELAYED, HELD, keyed, NOWHERE, STRAY, TAP, topics, UNKEYED } from '../plan.ts'
import { faces, firstCounters, lookWith, type Place } from './place.ts'

/** Store and queue in two files. `sqlite`: the face of the build that makes them. */
export async function openSqlitePlace({ sqliteQueue }: typeof Sqlite): Promise<Place> {
  const folder = mkdtempSync(join(tmpdir(), 'mersal-upgrade-'))
  const [database, broker] = [join(folder, 'store.db'), join(folder, 'queue.db')]
  const rows = async (file: string, text: string): Promise<Record<string, unknown>[]> => {
    using handle = new DatabaseSync(file, { timeout: 20_000 })
    return handle.prepare(text).all()
  }
  const query = (text: string) => rows(database, text)
  await query('CREATE TABLE counter (line TEXT PRIMARY KEY, n INTEGER NOT NULL)')
  await query('CREATE TABLE effect (line TEXT NOT NULL, n INTEGER NOT NULL)')
  await query(
    `INSERT INTO counter VALUES ${firstCounters([...keyed, UNKEYED, DELAYED, HELD, STRAY])}`,
  )
  await using queue = sqliteQueue({ path: broker })
  await queue.subscribe(TAP, [topics.booked])
  const bodies = async (name: string): Promise<Body[]> => {
    const text = `SELECT CAST(body AS TEXT) AS body FROM mersal_queue_messages WHERE queue = '${name}' ORDER BY position`
    return (await rows(broker, text)).map(({ body }) => JSON.parse(String(body)) as Body)
  }
  return {
    address: { kind: 'sqlite', database, broker },
    config: `import { sqlite, sqliteQueue } from '${faces}sqlite.ts'
export default { store: sqlite({ path: '${database}' }), transport: sqliteQueue({ path: '${broker}' }) }\n`,
    ...lookWith(query, {
      outbox: 'mersal_outbox WHERE position NOT IN (SELECT position FROM mersal_dead_letters)',
      notYet: `visible_at > unixepoch('subsec') * 1000 AND token IS NULL`,
      sent: 'mersal_sent',
      counter: 'counter',
      effect: 'effect',
    }),
    arrivals: () => bodies(TAP),
    strays: () => bodies(NOWHERE),
    async makeNowhere() {
      // Both builds know a queue by this row.
      await rows(broker, `INSERT INTO mersal_queues (name) VALUES ('${NOWHERE}')`)
    },
    async [Symbol.asyncDispose]() {
      rmSync(folder, { recursive: true })
    },
  }
}
