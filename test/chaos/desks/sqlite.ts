import { DatabaseSync } from 'node:sqlite'
import type { Logger } from '../../../src/index.ts'
import { commitPoints, type CrashPoint } from '../../../src/testing/crash-points.ts'
import { CLAIM_MS, type SqliteAddress, type WorkerPlan } from '../plan.ts'
import type { SourceOfProcess } from '../source.ts'
import type { Desk, DeskRow } from './desk.ts'

export async function openSqlite(
  { adapter }: SourceOfProcess,
  plan: WorkerPlan & { readonly address: SqliteAddress },
  at: (point: CrashPoint) => void,
  logger: Logger,
): Promise<Desk<DatabaseSync>> {
  const { sqlite, sqliteQueue } = await adapter('sqlite')
  const open = (): DatabaseSync => commitPoints(new DatabaseSync(plan.address.store), at)
  const store = sqlite({ open, migrate: 'check' })
  const transport = sqliteQueue({
    path: plan.address.broker,
    visibilityMs: CLAIM_MS,
    pollIntervalMs: 100,
    logger,
  })
  return {
    store,
    transport,
    async business(tx, rows) {
      const insert = tx.prepare('INSERT INTO business (id, topic, key, digest) VALUES (?, ?, ?, ?)')
      for (const { id, topic, key, digest } of rows) insert.run(id, topic, key ?? null, digest)
    },
    async effect(tx, id, digest) {
      tx.prepare('INSERT INTO effects (id, digest) VALUES (?, ?)').run(id, digest)
    },
    prefix: '',
    now: `cast(unixepoch('subsec') * 1000 as integer)`,
    run: (tx, sql, ...values) =>
      Promise.resolve(tx.prepare(sql).all(...values) as readonly DeskRow[]),
    ask(sql, ...values) {
      using reader = new DatabaseSync(plan.address.store, { timeout: 10_000 })
      return Promise.resolve(reader.prepare(sql).all(...values) as readonly DeskRow[])
    },
    foreign: undefined,
    async [Symbol.asyncDispose]() {},
  }
}
