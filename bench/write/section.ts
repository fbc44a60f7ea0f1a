import { Pool, type PoolConfig } from 'pg'
import { interleave } from '../measure.ts'
import { type Table, tableOf } from '../report.ts'
import { benchPostgres } from '../servers.ts'
import { writers } from './writers.ts'

/** What an outbox costs the writer: the same business transaction with and without messages, on 1, 8 and 32 connections. */
export async function write({ runs, seconds }: { readonly runs: number; readonly seconds: number }): Promise<Table[]> {
  await using server = await benchPostgres()
  const tables: Table[] = []
  for (const connections of [1, 8, 32]) {
    await using stack = new AsyncDisposableStack()
    const newPool = (options: PoolConfig = {}): Pool =>
      stack.adopt(new Pool({ connectionString: server.url, max: connections, ...options }), (pool) => pool.end())
    const candidates = await writers({ newPool, connections, seconds, serverPid: server.pid, stack })
    const results = await interleave(candidates, runs)
    tables.push(tableOf(`Write, ${connections} connections, ${server.version}`, 'transactions/s', results))
  }
  return tables
}
