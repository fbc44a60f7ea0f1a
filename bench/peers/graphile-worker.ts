import type { Client, PoolClient } from 'pg'
import { bodySql, type Body, jsonOf } from '../messages.ts'
import { loadPeer } from './load.ts'

interface Runner {
  readonly promise: Promise<void>
  stop(): Promise<void>
}

/** What the benchmark uses of graphile-worker. */
interface GraphileWorker {
  runMigrations(options: object): Promise<void>
  run(options: object): Promise<Runner>
  readonly Logger: new (factory: () => () => void) => object
}

const TASK = 'bench'

async function library(): Promise<{ readonly worker: GraphileWorker; readonly logger: object }> {
  const worker = await loadPeer<GraphileWorker>('graphile-worker')
  return { worker, logger: new worker.Logger(() => () => {}) }
}

/** With a local queue and batched completion, as its documentation advises for high throughput. */
export async function runGraphile(
  connectionString: string,
  onBody: (body: Body) => Promise<void>,
): Promise<Runner> {
  const { worker, logger } = await library()
  return await worker.run({
    connectionString,
    noHandleSignals: true,
    taskList: { [TASK]: (payload: unknown) => onBody(payload as Body) },
    preset: {
      worker: {
        concurrentJobs: 300,
        pollInterval: 1000,
        logger,
        localQueue: { size: 500 },
        completeJobBatchDelay: 0,
      },
    },
  })
}

/** Makes its tables anew, with `count` jobs. */
export async function fillGraphile(
  client: Client,
  connectionString: string,
  count: number,
): Promise<void> {
  await client.query('drop schema if exists graphile_worker cascade')
  const { worker, logger } = await library()
  await worker.runMigrations({ connectionString, preset: { worker: { logger } } })
  for (let from = 1; from <= count; from += 5000) {
    await client.query(`select count(*) from graphile_worker.add_jobs(array(
      select row('${TASK}', (${bodySql})::json, null, null, null, null, null, null)::graphile_worker.job_spec
      from generate_series(${from}, ${Math.min(from + 4999, count)}) n order by n))`)
  }
  await client.query('vacuum analyze')
}

/** In the transaction of the caller. */
export async function sendGraphile(client: PoolClient, number: number): Promise<void> {
  await client.query('select graphile_worker.add_job($1, $2::json)', [
    TASK,
    JSON.stringify(jsonOf(number)),
  ])
}
