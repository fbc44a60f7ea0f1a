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

interface Worker {
  runMigrations(options: object): Promise<void>
  run(options: object): Promise<{ stop(): Promise<void> }>
  readonly Logger: new (factory: () => () => void) => object
}

const TASK = 'rivals'

/** With `add_job` in the transaction, and a queue of its own for each key. */
async function open(ports: Ports): Promise<Opened> {
  const { database, watch } = ports
  const library = await loadPeer<Worker>('graphile-worker')
  const preset = { worker: { logger: new library.Logger(() => () => {}), pollInterval: 300 } }
  const pool = new Pool({ connectionString: database, max: 8 })
  pool.on('connect', watch)
  await library.runMigrations({ pgPool: pool, preset })
  let runner: { stop(): Promise<void> } | undefined
  return {
    write: (body) =>
      transaction(
        () => pool.connect(),
        async (client) => {
          await ports.row(client, body)
          await client.query(
            `select graphile_worker.add_job($1, $2::json, queue_name => $3, max_attempts => 3)`,
            [TASK, JSON.stringify(body), body.line],
          )
        },
      ),
    async consume(handle) {
      runner = await library.run({
        pgPool: pool,
        noHandleSignals: true,
        preset: { worker: { ...preset.worker, concurrentJobs: 4 } },
        taskList: {
          [TASK]: (payload: unknown) =>
            transaction(
              () => pool.connect(),
              (client) => handle(client, payload as Body),
            ),
        },
      })
    },
    async [Symbol.asyncDispose]() {
      await runner?.stop()
      await pool.end()
    },
  }
}

async function given(_servers: unknown, query: Statements): Promise<number> {
  const text = 'select count(*)::int as n from graphile_worker.jobs where attempts >= max_attempts'
  return ((await query.query(text)) as { rows: { n: number }[] }).rows[0]?.n ?? 0
}

export const library: Library = { open, given }
