import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { OutgoingMessage } from '../../src/index.ts'
import { sqliteQueue } from '../../src/sqlite.ts'
import { StudentRegistered } from '../plan.ts'
import { type BrokerMessage, type DemoBroker, messageOf, poison } from './broker.ts'

interface Row {
  readonly id: string
  readonly type: string
  readonly headers: string
  readonly body: Uint8Array
}

const counts = `
  SELECT (SELECT count(DISTINCT id) FROM mersal_queue_messages WHERE queue = 'audit') AS events,
    (SELECT count(DISTINCT id) FROM mersal_queue_dead_letters) AS deadLetters,
    (SELECT count(*) FROM mersal_queue_messages WHERE queue <> 'audit') AS waiting`

export async function openSqliteQueue(folder: string): Promise<DemoBroker> {
  const path = join(folder, 'broker.db')
  await using queue = sqliteQueue({ path })
  await queue.subscribe('registrar', [])
  await queue.subscribe('finance', [StudentRegistered.name])
  await queue.subscribe('audit', [StudentRegistered.name])
  const read = <Shape>(sql: string): Shape[] => {
    const database = new DatabaseSync(path, { readOnly: true, timeout: 5000 })
    try {
      return database.prepare(sql).all() as Shape[]
    } finally {
      database.close()
    }
  }
  const messages = (sql: string): BrokerMessage[] =>
    read<Row>(sql).map(({ id, body }) => messageOf(id, body))
  return {
    place: { kind: 'sqlite', path, prefix: '' },
    counts: async () => read<{ events: number; deadLetters: number; waiting: number }>(counts)[0]!,
    events: async () =>
      messages("SELECT id, body FROM mersal_queue_messages WHERE queue = 'audit'"),
    deadLetters: async () => messages('SELECT id, body FROM mersal_queue_dead_letters'),
    disturb: async (copies) => {
      const sql = `SELECT id, type, headers, body FROM mersal_queue_messages WHERE queue = 'audit' ORDER BY position LIMIT ${copies}`
      return await disturb(path, read<Row>(sql))
    },
    [Symbol.asyncDispose]: async () => {}, // the file goes with its folder
  }
}

async function disturb(path: string, delivered: readonly Row[]): Promise<number> {
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
