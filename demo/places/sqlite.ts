/** SQLite: a file for each app, and one for the queue. */
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { OutgoingMessage } from '../../src/index.ts'
import { sqlite, sqliteQueue } from '../../src/sqlite.ts'
import { type AppName, type PlaceOf, StudentRegistered } from '../plan.ts'
import {
  type AppDatabase,
  type BrokerMessage,
  type DemoBroker,
  type DemoDatabase,
  apps,
  insertion,
  messageOf,
  poison,
  reader,
  tableOf,
} from './place.ts'

function read<Found>(path: string, sql: string): Found[] {
  const database = new DatabaseSync(path, { readOnly: true, timeout: 5000 })
  try {
    return database.prepare(sql).all() as Found[]
  } finally {
    database.close()
  }
}

export async function openSqlite(folder: string, withOutbox: boolean): Promise<DemoDatabase> {
  const file = (app: AppName): string => join(folder, `${app}.db`)
  for (const app of apps) {
    const path = file(app)
    const { name, columns } = tableOf(app, 'BLOB')
    const database = new DatabaseSync(path)
    database.exec('PRAGMA journal_mode = WAL')
    database.exec(`CREATE TABLE ${name} (${columns})`)
    database.close()
    if (!withOutbox) continue
    await using store = sqlite({ path })
    await store.open()
  }
  return {
    place: { kind: 'sqlite', folder },
    ...reader({
      query: async (app, sql) => read(file(app), sql),
      table: (_, name) => name,
      outbox: withOutbox ? ['mersal_outbox', 'mersal_dead_letters'] : [],
    }),
    [Symbol.asyncDispose]: async () => {}, // the files go with their folder
  }
}

/** As a program uses it. */
export function sqliteDatabase(
  { folder }: PlaceOf<'sqlite'>,
  name: AppName,
): AppDatabase<DatabaseSync> {
  const path = join(folder, `${name}.db`)
  return {
    openStore: () => sqlite({ path }),
    connect: async () => new DatabaseSync(path, { timeout: 5000 }),
    execute: async (tx, sql) => tx.exec(sql),
    insert: async (tx, table, row) => {
      const { sql, values } = insertion(table, row)
      tx.prepare(sql).run(...values)
    },
    lines: async (table) =>
      read<{ line: number }>(path, `SELECT line FROM ${table}`).map(({ line }) => line),
  }
}

interface QueueRow {
  readonly id: string
  readonly type: string
  readonly headers: string
  readonly body: Uint8Array
}

const queueCounts = `
  SELECT (SELECT count(DISTINCT id) FROM mersal_queue_messages WHERE queue = 'audit') AS events,
    (SELECT count(DISTINCT id) FROM mersal_queue_dead_letters) AS deadLetters,
    (SELECT count(*) FROM mersal_queue_messages WHERE queue <> 'audit') AS waiting`
const published = "FROM mersal_queue_messages WHERE queue = 'audit' ORDER BY position"

export async function openSqliteQueue(folder: string): Promise<DemoBroker> {
  const path = join(folder, 'broker.db')
  await using queue = sqliteQueue({ path })
  await queue.subscribe('registrar', [])
  await queue.subscribe('finance', [StudentRegistered.name])
  await queue.subscribe('audit', [StudentRegistered.name])
  const messages = (sql: string): BrokerMessage[] =>
    read<QueueRow>(path, sql).map(({ id, body }) => messageOf(id, body))
  return {
    place: { kind: 'sqlite', path, prefix: '' },
    counts: async () =>
      read<{ events: number; deadLetters: number; waiting: number }>(path, queueCounts)[0]!,
    events: async () => messages(`SELECT id, body ${published}`),
    deadLetters: async () => messages('SELECT id, body FROM mersal_queue_dead_letters'),
    disturb: (copies) =>
      disturb(path, read(path, `SELECT id, type, headers, body ${published} LIMIT ${copies}`)),
    [Symbol.asyncDispose]: async () => {}, // the file goes with its folder
  }
}

async function disturb(path: string, delivered: readonly QueueRow[]): Promise<number> {
  await using broker = sqliteQueue({ path })
  const to = { transport: 'default', kind: 'queue', name: 'finance' } as const
  const copies = delivered.map(({ headers, ...row }) => ({
    ...row,
    headers: JSON.parse(headers) as Record<string, string>,
    to,
  }))
  const messages: OutgoingMessage[] = [{ ...poison, headers: {}, to }, ...copies]
  const outcomes = await Promise.all(broker.publish(messages))
  const refused = outcomes.find(({ kind }) => kind !== 'confirmed')
  if (refused !== undefined)
    throw new Error(`the queue answered '${refused.kind}' to a message of the demo`)
  return copies.length
}
