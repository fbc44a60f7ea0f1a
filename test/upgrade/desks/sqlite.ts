import { DatabaseSync } from 'node:sqlite'
import type { Faces } from '../../chaos/source.ts'
import type { Address } from '../plan.ts'
import { type Desk, KEEP_SENT_MS } from './desk.ts'

export async function openSqlite(
  { adapter }: Faces,
  { database, broker }: Extract<Address, { kind: 'sqlite' }>,
): Promise<Desk<DatabaseSync>> {
  const { sqlite, sqliteQueue } = await adapter('sqlite')
  const own = new DatabaseSync(database, { timeout: 20_000 })
  return {
    store: sqlite({ path: database, keepSentMs: KEEP_SENT_MS }),
    transport: sqliteQueue({ path: broker, pollIntervalMs: 100 }),
    draw: async (tx, line) =>
      Number(
        tx.prepare('UPDATE counter SET n = n + 1 WHERE line = ? RETURNING n').get(line)?.['n'],
      ),
    async effect(tx, line, n) {
      tx.prepare('INSERT INTO effect (line, n) VALUES (?, ?)').run(line, n)
    },
    async foreign(work) {
      own.exec('BEGIN IMMEDIATE')
      try {
        await work(own)
        own.exec('COMMIT')
      } catch (error) {
        own.exec('ROLLBACK')
        throw error
      }
    },
    async [Symbol.asyncDispose]() {
      own.close()
    },
  }
}
