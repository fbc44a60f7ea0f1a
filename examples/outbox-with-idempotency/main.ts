/**
 * Brokers deliver some messages twice. The inbox row is written in the handler's own transaction,
 * so the second delivery changes nothing. A store brings this along; nothing needs to be switched
 * on.
 *
 * `node examples/outbox-with-idempotency/main.ts` delivers a message three times, and prints the
 * entries.
 */
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { Mersal, event } from '../../src/index.ts' // in your program: 'mersal'
import { sqlite, sqliteQueue } from '../../src/sqlite.ts' // 'mersal/sqlite'
import { drain } from '../../src/testing/index.ts' // 'mersal/testing'

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

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'mersal-example-'))
  const { app, database } = await openLedger(folder)
  try {
    const id = randomUUID()
    for (let copy = 1; copy <= 3; copy += 1)
      await app.direct.publish(InvoicePaid, { account: 'anna', cents: 60 }, { id })
    await drain(app)
    const entries = database.prepare('SELECT account, cents FROM entries').all()
    process.stdout.write(`3 deliveries, ${entries.length} entry: ${JSON.stringify(entries)}\n`)
  } finally {
    await app.stop()
    database.close()
    rmSync(folder, { recursive: true, force: true })
  }
}

if (import.meta.main) await main()
