import { readFileSync } from 'node:fs'
import { Client } from 'pg'
import { privateCluster } from '../test/postgres/cluster.ts'

/** A PostgreSQL server that only the benchmark uses. */
export interface BenchPostgres extends AsyncDisposable {
  readonly url: string
  readonly version: string
  /** The process whose descendants are the server. */
  readonly pid: number
}

export async function benchPostgres(): Promise<BenchPostgres> {
  const cluster = await privateCluster({
    max_connections: '100',
    shared_buffers: '1GB',
    max_wal_size: '8GB',
    wal_level: 'logical',
  })
  const client = new Client({ connectionString: cluster.url })
  await client.connect()
  const { rows } = await client.query<{ folder: string; version: string }>(
    `select current_setting('data_directory') as folder, current_setting('server_version') as version`,
  )
  await client.end()
  const pid = Number(readFileSync(`${rows[0]?.folder}/postmaster.pid`, 'utf8').split('\n')[0])
  return {
    url: cluster.url,
    version: `PostgreSQL ${rows[0]?.version}`,
    pid,
    [Symbol.asyncDispose]: () => cluster[Symbol.asyncDispose](),
  }
}
