/**
 * `app.transaction` begins, commits and rolls back for you: business rows and messages in one
 * transaction of the database.
 */
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
