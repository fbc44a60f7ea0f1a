import type { Keys } from '../messages.ts'
import { type Backlog, moveBetween } from '../backlog-run.ts'
import { amount, type Effort } from '../effort.ts'
import { type Candidate, interleave, type Sample } from '../measure.ts'
import type { MysqlKind } from '../relays/job.ts'
import { type Table, tableOf } from '../report.ts'
import type { BenchServer } from '../server.ts'
import { mysqlReceivers } from './receive.ts'
import { fillOutbox, fillPlain, makeTables, openPool } from './tables.ts'
import { mysqlWriters } from './writers.ts'

/** Writing, draining, relaying and receiving on MariaDB, each beside the same by hand. */
export async function mysql(effort: Effort): Promise<Table[]> {
  return [
    ...(await written(effort)),
    await drained(effort),
    await relayed(effort),
    await received(effort),
  ]
}

async function written(effort: Effort): Promise<Table[]> {
  const { seconds, runs, only, size, servers, connections: one } = effort
  const server = await servers.mariadb()
  await makeTables(server.url)
  const tables: Table[] = []
  for (const connections of one === undefined ? (size === 'tiny' ? [2] : [1, 8]) : [one]) {
    await using stack = new AsyncDisposableStack()
    const candidates = mysqlWriters({ server, connections, seconds }, stack)
    const warmUp = size !== 'tiny' && tables.length === 0
    const results = await interleave(candidates, runs, { only, warmUp })
    const title = `Write, ${connections} connections, ${server.version}`
    tables.push(
      tableOf({ id: `mysql write ${connections}`, title, unit: 'transactions/s' }, results),
    )
  }
  return tables
}

type Move = Omit<Backlog, 'kind'> & { readonly kind: MysqlKind }

async function move(mariadb: BenchServer, backlog: Move): Promise<Sample> {
  const { kind, count, keys = 1000 } = backlog
  const mersal = kind === 'mysql, mersal'
  const pool = openPool(mariadb.url, 2)
  try {
    return await moveBetween({ mariadb }, backlog, {
      fill: (queue: string, _: Keys) =>
        mersal ? fillOutbox(pool, count, { queue, keys }) : fillPlain(pool, count),
      async leftOver() {
        const table = mersal ? 'mersal_outbox' : 'plain'
        const [rows] = (await pool.query(`select 1 from ${table}`)) as unknown as [unknown[]]
        return rows.length === 0 ? [] : [`${rows.length} rows left in the table`]
      },
    })
  } finally {
    await pool.end()
  }
}

function movers(server: BenchServer, backlog: Omit<Move, 'kind'>): readonly Candidate[] {
  const candidate = (name: string, kind: MysqlKind, keys = 1000): Candidate => ({
    name,
    run: () => move(server, { ...backlog, kind, keys }),
  })
  return [
    candidate('hand-written, claim then delete', 'mysql, floor claimed'),
    candidate('hand-written, delete', 'mysql, floor delete'),
    candidate('Mersal, 1,000 keys', 'mysql, mersal'),
    candidate('Mersal, no keys', 'mysql, mersal', 0),
  ]
}

async function drained({ servers, runs, only, size }: Effort): Promise<Table> {
  const server = await servers.mariadb()
  await makeTables(server.url)
  const candidates = movers(server, { count: amount({ size }, 50_000, 10_000) })
  const results = await interleave(candidates, runs, { warmUp: false, only })
  const title = `Drain, nothing published, ${server.version}`
  return tableOf({ id: 'mysql drain', title, unit: 'messages/s' }, results)
}

async function relayed({ servers, runs, only, size }: Effort): Promise<Table> {
  const [server, rabbit] = await Promise.all([servers.mariadb(), servers.rabbit()])
  await makeTables(server.url)
  const count = amount({ size }, 30_000, 10_000)
  const candidates = movers(server, { count, rabbit, queueType: 'quorum' })
  const results = await interleave(candidates, runs, { warmUp: false, only })
  const title = `Drained and published, quorum queue, ${server.version}, ${rabbit.version}`
  return tableOf({ id: 'mysql relay', title, unit: 'messages/s' }, results)
}

async function received(effort: Effort): Promise<Table> {
  const { servers, runs, only, size } = effort
  const [server, rabbit] = await Promise.all([servers.mariadb(), servers.rabbit()])
  const candidates = mysqlReceivers(effort, server, rabbit)
  const results = await interleave(candidates, runs, { warmUp: size !== 'tiny', only })
  const title = `Received and handled, 10 at a time, ${server.version}, ${rabbit.version}, quorum queue`
  return tableOf({ id: 'mysql receive', title, unit: 'messages/s' }, results)
}
