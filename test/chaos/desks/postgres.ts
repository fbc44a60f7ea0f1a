import type { EventEmitter } from 'node:events'
import { Pool, type PoolClient } from 'pg'
import type { Transport } from '../../../src/core/transport.ts'
import type { Logger } from '../../../src/index.ts'
import type { PostgresClient } from '../../../src/postgres.ts'
import type { CrashPoint } from '../../../src/testing/crash-points.ts'
import { SAID } from '../../scenarios/postgres-relays/witness.ts'
import { HOLD_MS, PARTITIONS, type PostgresAddress, type WorkerPlan } from '../plan.ts'
import type { SourceOfProcess } from '../source.ts'
import type { Desk, DeskRow } from './desk.ts'

interface Statement {
  readonly text: string
  readonly values: readonly unknown[]
}

const isStatement = (given: unknown): given is Statement =>
  typeof given === 'object' && given !== null && 'values' in given
/** Also with the bug that makes the token worthless. */
const settles = /token = \$2::uuid|\$2::uuid is not null|\$2::uuid\[\]\) as u\(position, token\)/

/** Tells the witness which token each settle says it has, or which tokens. */
function sayToken(client: PoolClient): void {
  const query = client.query.bind(client) as (...given: readonly unknown[]) => Promise<unknown>
  const said = async (given: unknown, ...rest: readonly unknown[]): Promise<unknown> => {
    if (isStatement(given) && settles.test(given.text)) {
      await query(`select set_config('${SAID}', $1, true)`, [String(given.values[1])])
    }
    return await query(given, ...rest)
  }
  client.query = said as typeof client.query
}

/** Reaches the point when the server has executed a COMMIT and nobody has been told. */
function commitPoint(client: PoolClient, reached: () => void): void {
  const { connection } = client as unknown as { readonly connection: EventEmitter }
  connection.prependListener('commandComplete', ({ text }: { readonly text: string }) => {
    if (text === 'COMMIT') reached()
  })
}

function numbered(sql: string): string {
  let count = 0
  return sql.replaceAll('?', () => `$${++count}`)
}

async function transportOf(
  { adapter }: SourceOfProcess,
  { kind, broker }: PostgresAddress,
  logger: Logger,
): Promise<Transport> {
  const common = { url: broker, confirmTimeoutMs: 1500, connectTimeoutMs: 5000, logger }
  switch (kind) {
    case 'postgres':
      return (await adapter('rabbitmq')).rabbitmq({ ...common, heartbeatSeconds: 2 })
    case 'nats':
      return (await adapter('nats')).nats({
        ...common,
        heartbeatSeconds: 1,
        ackWaitMs: HOLD_MS,
        // So short that it hides no copy.
        duplicateWindowMs: 100,
      })
    case 'redis':
      return (await adapter('redis')).redis({ ...common, visibilityMs: HOLD_MS })
    case 'kafka':
      return (await adapter('kafka')).kafka({
        ...common,
        partitions: PARTITIONS,
        sessionTimeoutMs: HOLD_MS,
      })
    default:
      return kind satisfies never
  }
}

export async function openPostgres(
  source: SourceOfProcess,
  plan: WorkerPlan & { readonly address: PostgresAddress },
  at: (point: CrashPoint) => void,
  logger: Logger,
): Promise<Desk<PostgresClient>> {
  const { database, schema } = plan.address
  const common = {
    connectionString: database,
    application_name: plan.name,
    keepAlive: true,
    connectionTimeoutMillis: 5000,
  }
  const options = plan.asyncCommit ? { options: '-c synchronous_commit=off' } : {}
  const pool = new Pool({ ...common, ...options, max: 5 })
  const relayPool = new Pool({ ...common, ...options, max: 4 })
  for (const each of [pool, relayPool]) each.on('error', () => {})
  pool.on('connect', (client) =>
    commitPoint(client, () => at(plan.role === 'consumer' ? 'C6' : 'P5')),
  )
  relayPool.on('connect', sayToken)
  const { postgres } = await source.adapter('postgres')
  const store = postgres({
    pool,
    relayPool,
    schema,
    migrate: 'check',
    prepare: true,
    logger,
  })
  const transport = await transportOf(source, plan.address, logger)
  return {
    store,
    transport,
    async business(tx, rows) {
      const list = <Value>(pick: (row: (typeof rows)[number]) => Value): Value[] => rows.map(pick)
      await tx.query(
        `insert into ${schema}.business (id, topic, key, digest)
         select u.id, u.topic, u.key, u.digest from unnest($1::uuid[], $2::text[], $3::text[], $4::text[]) as u(id, topic, key, digest)`,
        [
          list(({ id }) => id),
          list(({ topic }) => topic),
          list(({ key }) => key ?? null),
          list(({ digest }) => digest),
        ],
      )
    },
    async effect(tx, id, digest) {
      await tx.query(`insert into ${schema}.effects (id, digest) values ($1::uuid, $2)`, [
        id,
        digest,
      ])
    },
    prefix: `${schema}.`,
    now: '(extract(epoch from clock_timestamp()) * 1000)::bigint',
    run: async (tx, sql, ...values) => (await tx.query(numbered(sql), values)).rows,
    ask: async (sql, ...values) => (await pool.query<DeskRow>(numbered(sql), values)).rows,
    async foreign(work) {
      const client = await pool.connect()
      const ignore = (): void => {} // the statement that runs fails by itself
      client.on('error', ignore)
      let broken = true
      try {
        await client.query('begin')
        await work(client)
        await client.query('commit')
        broken = false
      } finally {
        client.off('error', ignore)
        client.release(broken)
      }
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([pool.end(), relayPool.end()])
    },
  }
}
