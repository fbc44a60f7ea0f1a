/** Configuration of `mersal` in a cell. */
import { Pool } from 'pg'
import { defineConfig } from '../../src/cli/index.ts'
import { postgres, postgresQueue } from '../../src/postgres.ts'
import { rabbitmq } from '../../src/rabbitmq.ts'
import { relay, type WorkerPlan } from './plan.ts'
import { notingUnknowns } from './unknowns.ts'

export default defineConfig(() => {
  const plan = JSON.parse(process.env['CRASH_MATRIX_PLAN'] ?? '') as WorkerPlan
  const { schema, kind, broker, exchange, options } = plan
  const pool = Object.assign(
    new Pool({
      connectionString: plan.database,
      application_name: plan.name,
      max: 8,
      ...(kind.pipeline ? { pipeline: true } : {}),
    }),
    { direct: true as const },
  )
  const keepSentMs = options.kept === true ? 3_600_000 : 0
  const transport =
    kind.road === 'straight'
      ? postgresQueue({ pool, queuePool: pool, schema, migrate: 'check' })
      : rabbitmq({ url: broker, eventsExchange: exchange, newQueuePauseMs: 0, logger: false })
  return {
    name: plan.name,
    store: postgres({ pool, relayPool: pool, schema, migrate: 'check', keepSentMs }),
    transport: notingUnknowns(transport, process.cwd()),
    relay: relay(options),
    close: () => pool.end(),
  }
})
