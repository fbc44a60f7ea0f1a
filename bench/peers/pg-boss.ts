import type { Client, PoolClient } from 'pg'
import { type Body, jsonOf } from '../messages.ts'
import { loadPeer } from './load.ts'

export interface Job {
  readonly id: string
  readonly data: Body
}

interface Database {
  executeSql(text: string, values?: unknown[]): Promise<{ rows: unknown[] }>
}

/** What the benchmark uses of pg-boss. */
export interface Boss {
  on(name: 'error', listener: (error: Error) => void): void
  start(): Promise<unknown>
  stop(options: { graceful: boolean }): Promise<void>
  createQueue(name: string, options: { notify: boolean }): Promise<void>
  insert(name: string, jobs: readonly { data: Body }[]): Promise<unknown>
  send(name: string, data: Body, options: { db: Database }): Promise<string | null>
  fetch(name: string, options: { batchSize: number }): Promise<Job[]>
  complete(name: string, ids: readonly string[]): Promise<unknown>
  work(name: string, options: object, handler: (jobs: Job[]) => Promise<void>): Promise<string>
}

export const QUEUE = 'bench'

export async function openBoss(connectionString: string, listen: boolean): Promise<Boss> {
  const { PgBoss } = await loadPeer<{ PgBoss: new (options: object) => Boss }>('pg-boss')
  const boss = new PgBoss({
    connectionString,
    useListenNotify: listen,
    supervise: false,
    schedule: false,
  })
  boss.on('error', (error) => process.stderr.write(`pg-boss: ${error.message}\n`))
  await boss.start()
  return boss
}

/** Makes its tables anew, with `count` jobs. */
export async function fillBoss(client: Client, url: string, count: number): Promise<void> {
  await client.query('drop schema if exists pgboss cascade')
  const boss = await openBoss(url, false)
  await boss.createQueue(QUEUE, { notify: true })
  for (let from = 1; from <= count; from += 1000) {
    const length = Math.min(1000, count - from + 1)
    await boss.insert(
      QUEUE,
      Array.from({ length }, (_, index) => ({ data: jsonOf(from + index) })),
    )
  }
  await boss.stop({ graceful: false })
  await client.query('vacuum analyze')
}

/** In the transaction of the caller. */
export async function sendBoss(boss: Boss, client: PoolClient, number: number): Promise<void> {
  await boss.send(QUEUE, jsonOf(number), {
    db: { executeSql: (text, values) => client.query(text, values) },
  })
}
