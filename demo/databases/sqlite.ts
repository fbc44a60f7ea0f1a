import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { sqlite } from '../../src/sqlite.ts'
import type { AppName } from '../plan.ts'
import {
  type AppDatabase,
  type DemoDatabase,
  type FinancialRow,
  type PlaceOf,
  type Raw,
  type StudentRow,
  apps,
  tableOf,
  withText,
} from './database.ts'

/** A file for each app. */
export async function openSqlite(folder: string, withOutbox: boolean): Promise<DemoDatabase> {
  for (const app of apps) {
    const path = join(folder, `${app}.db`)
    const { name, columns } = tableOf(app, 'TEXT')
    const database = new DatabaseSync(path)
    database.exec('PRAGMA journal_mode = WAL')
    database.exec(`CREATE TABLE ${name} (${columns})`)
    database.close()
    if (!withOutbox) continue
    await using store = sqlite({ path })
    await store.open()
  }
  const read = <Row>(app: string, sql: string): Row[] => {
    const database = new DatabaseSync(join(folder, `${app}.db`), { readOnly: true, timeout: 5000 })
    try {
      return database.prepare(sql).all() as Row[]
    } finally {
      database.close()
    }
  }
  const number = (app: string, sql: string): number => read<{ n: number }>(app, sql)[0]?.n ?? 0
  const waiting = (app: string): number =>
    number(
      app,
      'SELECT (SELECT count(*) FROM mersal_outbox) + (SELECT count(*) FROM mersal_dead_letters) AS n',
    )
  return {
    place: { kind: 'sqlite', folder },
    counts: async () => ({
      students: number('registrar', 'SELECT count(*) AS n FROM students'),
      financial: number('finance', 'SELECT count(*) AS n FROM financial_registrations'),
      waiting: withOutbox ? apps.reduce((sum, app) => sum + waiting(app), 0) : 0,
    }),
    students: async () =>
      read<Raw<StudentRow>>(
        'registrar',
        'SELECT id, line, CAST(name AS BLOB) AS name FROM students',
      ).map(withText<StudentRow>),
    financial: async () =>
      read<Raw<FinancialRow>>(
        'finance',
        'SELECT student_id AS studentId, CAST(name AS BLOB) AS name FROM financial_registrations',
      ).map(withText<FinancialRow>),
    [Symbol.asyncDispose]: async () => {}, // the files go with their folder
  }
}

/** The side of the child. */
export function sqliteDatabase(
  { folder }: PlaceOf<'sqlite'>,
  name: AppName,
): AppDatabase<DatabaseSync> {
  const path = join(folder, `${name}.db`)
  const connect = (): DatabaseSync => new DatabaseSync(path, { timeout: 5000 })
  return {
    openStore: () => sqlite({ path }),
    connect: async () => connect(),
    execute: async (tx, sql) => tx.exec(sql),
    insert: async (tx, table, row) => {
      const names = Object.keys(row)
      tx.prepare(
        `INSERT INTO ${table} (${names.join()}) VALUES (${names.map(() => '?').join()})`,
      ).run(...Object.values(row))
    },
    lines: async (table) =>
      connect()
        .prepare(`SELECT line FROM ${table}`)
        .all()
        .map(({ line }) => Number(line)),
  }
}
