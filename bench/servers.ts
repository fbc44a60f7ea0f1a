import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { connect } from '@nats-io/transport-node'
import { createConnection, type RowDataPacket } from 'mysql2/promise'
import { Client } from 'pg'
import { privateMariadb } from '../scripts/servers/mariadb.ts'
import { privateCluster } from '../scripts/servers/postgres.ts'
import { openPrivateNats } from '../scripts/servers/nats.ts'
import { openPrivateBroker } from '../scripts/servers/rabbitmq.ts'
import { startKafka } from './kafka/server.ts'
import { startRedis } from './redis/server.ts'
import type { BenchServer } from './server.ts'

/** Started when they are first asked for, once. */
export interface BenchServers extends AsyncDisposable {
  postgres(): Promise<BenchServer>
  mariadb(): Promise<BenchServer>
  rabbit(): Promise<BenchServer>
  nats(): Promise<BenchServer>
  /** Undefined where there is no `redis-server`. */
  redis(): Promise<BenchServer | undefined>
  /** The same, and what it confirms is on the disk. */
  syncedRedis(): Promise<BenchServer | undefined>
  /** Undefined where there is neither a Kafka nor what fetches one. */
  kafka(): Promise<BenchServer | undefined>
}

export function benchServers(): BenchServers {
  const stack = new AsyncDisposableStack()
  let postgres: Promise<BenchServer> | undefined
  let mariadb: Promise<BenchServer> | undefined
  let rabbit: Promise<BenchServer> | undefined
  let nats: Promise<BenchServer> | undefined
  let redis: Promise<BenchServer | undefined> | undefined
  let syncedRedis: Promise<BenchServer | undefined> | undefined
  let kafka: Promise<BenchServer | undefined> | undefined
  return {
    postgres: () => (postgres ??= startPostgres(stack)),
    mariadb: () => (mariadb ??= startMariadb(stack)),
    rabbit: () => (rabbit ??= startRabbit(stack)),
    nats: () => (nats ??= startNats(stack)),
    redis: () => (redis ??= startRedis(stack, 'everysec')),
    syncedRedis: () => (syncedRedis ??= startRedis(stack, 'always')),
    kafka: () => (kafka ??= startKafka(stack)),
    async [Symbol.asyncDispose]() {
      await Promise.allSettled([postgres, mariadb, rabbit, nats, redis, syncedRedis, kafka])
      await stack.disposeAsync()
    },
  }
}

async function startPostgres(stack: AsyncDisposableStack): Promise<BenchServer> {
  const cluster = stack.use(
    await privateCluster({
      max_connections: '300',
      shared_buffers: '1GB',
      max_wal_size: '8GB',
      wal_level: 'logical',
    }),
  )
  const client = new Client({ connectionString: cluster.url })
  await client.connect()
  const { rows } = await client.query<{ folder: string; version: string }>(
    `select current_setting('data_directory') as folder, current_setting('server_version') as version`,
  )
  await client.end()
  const pid = Number(readFileSync(`${rows[0]?.folder}/postmaster.pid`, 'utf8').split('\n')[0])
  return { url: cluster.url, version: `PostgreSQL ${rows[0]?.version}`, pid }
}

async function startMariadb(stack: AsyncDisposableStack): Promise<BenchServer> {
  const server = stack.use(
    await privateMariadb([
      '--max-connections=300',
      '--innodb-buffer-pool-size=1G',
      '--innodb-log-file-size=1G',
      '--innodb-flush-log-at-trx-commit=1',
    ]),
  )
  const connection = await createConnection({ uri: server.url })
  const [[row]] = await connection.query<RowDataPacket[]>('select version() as version')
  await connection.end()
  const pid = Number(readFileSync(join(server.data, 'server.pid'), 'utf8'))
  const [version] = String(row?.['version']).split('-')
  return { url: server.url, version: `MariaDB ${version}`, pid }
}

async function startRabbit(stack: AsyncDisposableStack): Promise<BenchServer> {
  const broker = stack.use(await openPrivateBroker())
  const pid = Number(/\d+/.exec(await broker.ctl('eval', 'os:getpid().'))?.[0])
  const { stdout } = await promisify(execFile)('rabbitmqctl', ['version'])
  return { url: broker.url, version: `RabbitMQ ${stdout.trim()}`, pid }
}

async function startNats(stack: AsyncDisposableStack): Promise<BenchServer> {
  const server = stack.use(await openPrivateNats())
  const pid = Number(readFileSync(join(dirname(server.store), 'pid'), 'utf8'))
  const client = await connect({ servers: server.url })
  const version = client.info?.version ?? '?'
  await client.close()
  return { url: server.url, version: `NATS ${version}`, pid }
}
