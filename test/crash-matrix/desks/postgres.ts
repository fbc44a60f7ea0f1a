import { Pool, type PoolClient, type PoolConfig } from 'pg'
import { postgres, type PostgresClient, postgresQueue } from '../../../src/postgres.ts'
import { HOLD_MS, type WorkerPlan } from '../plan.ts'
import { type Desk, type DeskOptions, keepSentMs } from './desk.ts'

/** The roads differ in what one connection may do at a time. */
function poolsFor({ kind, database }: WorkerPlan, { program }: DeskOptions) {
  const connection: PoolConfig = {
    connectionString: database,
    ...(kind.pipeline ? { pipeline: true } : {}),
  }
  const direct = Object.assign(new Pool({ ...connection, max: 8 }), { direct: true as const })
  const pool = program ? direct : new Pool({ ...connection, max: 5 })
  for (const each of [pool, direct]) each.on('error', () => {})
  return { pool, direct }
}

export function postgresDesk(plan: WorkerPlan, options: DeskOptions): Desk<PostgresClient> {
  const { schema } = plan
  const { migrate, program } = options
  const { pool, direct } = poolsFor(plan, options)
  return {
    store: postgres({
      pool,
      relayPool: direct,
      schema,
      migrate,
      ...(program ? {} : { prepare: true }),
      keepSentMs: keepSentMs(plan),
    }),
    queue: () =>
      postgresQueue({
        pool,
        queuePool: direct,
        schema,
        migrate,
        ...(program ? {} : { visibilityMs: HOLD_MS, pollIntervalMs: 100 }),
      }),
    async addStudent(tx, number, host) {
      const mark = host ? '/* host */' : ''
      await tx.query(`insert into ${schema}.students (number) values ($1) ${mark}`, [number])
    },
    async addEffect(tx, { number, part }, message) {
      await tx.query(`insert into ${schema}.effects (number, part, message) values ($1, $2, $3)`, [
        number,
        part,
        message,
      ])
    },
    isPutRight: async (tx) => (await tx.query(`select from ${schema}.put_right`)).rows.length > 0,
    async hasStudent(number) {
      const { rows } = await pool.query(`select from ${schema}.students where number = $1`, [
        number,
      ])
      return rows.length > 0
    },
    async foreign(end, work) {
      const client: PoolClient = await pool.connect()
      let broken = true
      try {
        await client.query('begin')
        await work(client)
        await client.query(end)
        broken = false
      } finally {
        client.release(broken)
      }
    },
    isTaken: (error) => (error as { code?: unknown }).code === '23505',
    close: () => direct.end(),
  }
}
