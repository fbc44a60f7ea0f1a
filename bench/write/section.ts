import { Pool, type PoolConfig } from 'pg'
import type { Effort } from '../effort.ts'
import { interleave } from '../measure.ts'
import { type Table, tableOf } from '../report.ts'
import { writers } from './writers.ts'

/**
 * What an outbox costs the writer: the same business transaction with and without messages, on 1, 8
 * and 32 connections.
 */
export async function write({
  runs,
  seconds,
  size,
  servers,
  only,
  connections: many,
}: Effort): Promise<Table[]> {
  const server = await servers.postgres()
  const tables: Table[] = []
  for (const connections of many === undefined ? (size === 'tiny' ? [2] : [1, 8, 32]) : [many]) {
    await using stack = new AsyncDisposableStack()
    const newPool = (options: PoolConfig = {}): Pool =>
      stack.adopt(
        new Pool({ connectionString: server.url, max: connections, ...options }),
        (pool) => pool.end(),
      )
    const candidates = await writers({
      newPool,
      connections,
      seconds,
      serverPid: server.pid,
      stack,
    })
    const results = await interleave(candidates, runs, {
      only,
      warmUp: size !== 'tiny' && tables.length === 0,
    })
    const title = `Write, ${connections} connections, ${server.version}`
    tables.push(tableOf({ id: `write ${connections}`, title, unit: 'transactions/s' }, results))
  }
  return tables
}
