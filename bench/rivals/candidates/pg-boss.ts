import { Pool } from 'pg'
import { loadPeer } from '../../peers/load.ts'
import {
  type Library,
  type Opened,
  type Ports,
  type Statements,
  transaction,
} from '../candidate.ts'
import type { Body } from '../plan.ts'

interface Boss {
  on(name: 'error', listener: (error: Error) => void): void
  start(): Promise<unknown>
  stop(options: { graceful: boolean }): Promise<void>
  createQueue(name: string, options: object): Promise<void>
  send(name: string, data: Body, options: object): Promise<string | null>
  work(
    name: string,
    options: object,
    handler: (jobs: readonly { readonly data: Body }[]) => Promise<void>,
  ): Promise<string>
}

const QUEUE = 'rivals'
const DEAD = 'rivals-dead'

/** With the policy that keeps the order of a key, and the `db` option in the transaction. */
async function open(ports: Ports): Promise<Opened> {
  const { database, watch } = ports
  const { PgBoss } = await loadPeer<{ PgBoss: new (options: object) => Boss }>('pg-boss')
  const pool = new Pool({ connectionString: database, max: 8 })
  pool.on('connect', watch)
  const boss = new PgBoss({ connectionString: database, superviseIntervalSeconds: 1 })
  boss.on('error', () => {})
  await boss.start()
  await boss.createQueue(DEAD, {})
  await boss.createQueue(QUEUE, {
    policy: 'key_strict_fifo',
    retryLimit: 2,
    retryDelay: 1,
    deadLetter: DEAD,
  })
  return {
    write: (body) =>
      transaction(
        () => pool.connect(),
        async (client) => {
          await ports.row(client, body)
          const db = {
            executeSql: (text: string, values?: unknown[]) => client.query(text, values),
          }
          await boss.send(QUEUE, body, { db, singletonKey: body.line })
        },
      ),
    async consume(handle) {
      const options = { pollingIntervalSeconds: 0.5, localConcurrency: 4 }
      await boss.work(QUEUE, options, async ([job]) => {
        if (job === undefined) return
        await transaction(
          () => pool.connect(),
          (client) => handle(client, job.data),
        )
      })
    },
    async [Symbol.asyncDispose]() {
      await boss.stop({ graceful: false })
      await pool.end()
    },
  }
}

async function given(_servers: unknown, query: Statements): Promise<number> {
  const text = `select count(*)::int as n from pgboss.job where name = '${DEAD}'`
  return ((await query.query(text)) as { rows: { n: number }[] }).rows[0]?.n ?? 0
}

export const library: Library = { open, given }
