/**
 * Brokers deliver some messages twice. The inbox row is written in the handler's own transaction,
 * so the second delivery changes nothing. A store brings this along; nothing needs to be switched
 * on.
 */
import { DatabaseSync } from 'node:sqlite'
import { Mersal, event } from '../../src/index.ts' // in your program: 'mersal'
import { sqlite, sqliteQueue } from '../../src/sqlite.ts' // 'mersal/sqlite'

export const InvoicePaid = event<{ account: string; cents: number }>('billing.invoice-paid')

export interface Ledger {
  readonly app: Mersal<DatabaseSync>
  /** For reading; the handlers have a connection of their own. */
  readonly database: DatabaseSync
}

export async function openLedger(folder: string): Promise<Ledger> {
  const database = new DatabaseSync(`${folder}/ledger.db`)
  database.exec('CREATE TABLE entries (account TEXT NOT NULL, cents INTEGER NOT NULL)')
  const app = new Mersal({
    name: 'ledger',
    store: sqlite({ path: `${folder}/ledger.db` }),
    transport: sqliteQueue({ path: `${folder}/broker.db`, pollIntervalMs: 10 }),
    // Records are kept for 7 days by default: longer than the longest redelivery.
    idempotency: { onDuplicate: 'skip', retentionMs: 14 * 24 * 3600 * 1000 },
  })
  app.handle(InvoicePaid, ({ account, cents }, { tx }) => {
    tx.prepare('INSERT INTO entries (account, cents) VALUES (?, ?)').run(account, cents)
  })
  await app.start()
  return { app, database }
}
