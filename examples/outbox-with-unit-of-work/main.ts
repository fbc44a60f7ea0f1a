/**
 * `app.transaction` begins, commits and rolls back for you: business rows and messages in one
 * transaction of the database.
 *
 * `node examples/outbox-with-unit-of-work/main.ts` prints what becomes of two transfers.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { DatabaseSync } from 'node:sqlite'
import { Mersal, event } from '../../src/index.ts' // in your program: 'mersal'
import { sqlite, sqliteQueue } from '../../src/sqlite.ts' // 'mersal/sqlite'

export const MoneyMoved = event<{ from: string; to: string; cents: number }>('bank.money-moved')

export async function openBank(
  folder: string,
  accounts: Readonly<Record<string, number>>,
): Promise<Mersal<DatabaseSync>> {
  const app = new Mersal({
    name: 'bank',
    store: sqlite({ path: `${folder}/bank.db` }),
    transport: sqliteQueue({ path: `${folder}/broker.db` }),
    sendOnly: true,
  })
  await app.start()
  await app.transaction(async (tx) => {
    tx.exec(
      'CREATE TABLE accounts (owner TEXT PRIMARY KEY, cents INTEGER NOT NULL CHECK (cents >= 0))',
    )
    for (const [owner, cents] of Object.entries(accounts))
      tx.prepare('INSERT INTO accounts VALUES (?, ?)').run(owner, cents)
  })
  return app
}

/** Throws when there is not enough money; then nothing has moved and nobody has been told. */
export async function transfer(
  app: Mersal<DatabaseSync>,
  from: string,
  to: string,
  cents: number,
): Promise<void> {
  await app.transaction(async (tx, { publish }) => {
    await publish(MoneyMoved, { from, to, cents }, { partitionKey: from })
    tx.prepare('UPDATE accounts SET cents = cents + ? WHERE owner = ?').run(cents, to)
    tx.prepare('UPDATE accounts SET cents = cents - ? WHERE owner = ?').run(cents, from)
  })
}

export function balances(app: Mersal<DatabaseSync>): Promise<Record<string, unknown>> {
  return app.transaction(async (tx) =>
    Object.fromEntries(
      tx
        .prepare('SELECT owner, cents FROM accounts')
        .all()
        .map(({ owner, cents }) => [owner, cents]),
    ),
  )
}

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'mersal-example-'))
  // Somebody wants the event: without a queue for it, the relay would complain, and try again.
  const broker = sqliteQueue({ path: `${folder}/broker.db` })
  await broker.subscribe('mail', [MoneyMoved.name])
  await broker[Symbol.asyncDispose]()
  const bank = await openBank(folder, { anna: 100, ben: 0 })
  const say = (line: string): void => void process.stdout.write(`${line}\n`)
  try {
    for (const cents of [101, 60])
      await transfer(bank, 'anna', 'ben', cents).then(
        () => say(`${cents} were moved, and an event tells of it`),
        () => say(`${cents} were not moved, and no event tells of it`),
      )
    say(JSON.stringify(await balances(bank)))
  } finally {
    await bank.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}

if (import.meta.main) await main()
