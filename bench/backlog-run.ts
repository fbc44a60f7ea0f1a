import { Client } from 'pg'
import { fillOutbox, fillPlain } from './backlog.ts'
import { cpuSeconds, type Sample } from './measure.ts'
import { evenKeys, type Keys, noKeys } from './messages.ts'
import { fillGraphile } from './peers/graphile-worker.ts'
import { fillBoss } from './peers/pg-boss.ts'
import { fillTransactional, unprocessed } from './peers/pg-transactional-outbox.ts'
import { faultsOf, openQueue, type QueueType } from './rabbit-queue.ts'
import type { RelayJob, RelayKind } from './relays/job.ts'
import { startRelay } from './relays/process.ts'
import { promisesOrder } from './relays/sink.ts'
import type { BenchServer } from './server.ts'

/** A backlog that is moved by relay processes. */
export interface Backlog {
  readonly kind: RelayKind
  readonly count: number
  /** 0: messages without a key. */
  readonly keys?: number
  /** Another spread of the keys than an even one. */
  readonly spread?: Keys
  /** Without a broker, messages are confirmed at once. */
  readonly rabbit?: BenchServer
  readonly queueType?: QueueType
  readonly relays?: number
  /** Options of Mersal's store. */
  readonly store?: RelayJob['store']
}

/** Fills the table, lets the relays move everything, and reads it back. */
export async function moveBacklog(postgres: BenchServer, backlog: Backlog): Promise<Sample> {
  const { kind, count } = backlog
  const client = new Client({ connectionString: postgres.url })
  await client.connect()
  try {
    return await moveBetween({ postgres }, backlog, {
      fill: (queue, keys) => fill(client, postgres.url, { kind, count, keys, queue }),
      leftOver: () => leftOver(client, kind),
    })
  } finally {
    await client.end()
  }
}

interface Table {
  /** For this queue. */
  readonly fill: (queue: string, keys: Keys) => Promise<void>
  readonly leftOver: () => Promise<string[]>
}

/** `database`: one server by its name. */
export async function moveBetween(
  database: Readonly<Record<string, BenchServer>>,
  backlog: Backlog,
  table: Table,
): Promise<Sample> {
  const { kind, count, keys = 1000, rabbit, queueType = 'classic', relays = 1 } = backlog
  const spread = backlog.spread ?? (keys === 0 ? noKeys : evenKeys(keys))
  await using stack = new AsyncDisposableStack()
  const queue = rabbit === undefined ? undefined : stack.use(await openQueue(rabbit.url, queueType))
  await table.fill(queue?.name ?? 'bench', spread)
  const job: RelayJob = {
    kind,
    database: Object.values(database)[0]?.url ?? '',
    expected: count,
    keys,
    ...(backlog.store && { store: backlog.store }),
    ...(rabbit === undefined || queue === undefined
      ? {}
      : { rabbit: { url: rabbit.url, queue: queue.name, type: queueType } }),
  }
  const processes = await Promise.all(Array.from({ length: relays }, () => startRelay(job)))
  for (const process of processes) stack.use(process)
  const servers = { ...database, ...(rabbit === undefined ? {} : { rabbitmq: rabbit }) }
  const before = Object.entries(servers).map(([name, server]) => ({
    name,
    server,
    earlier: cpuSeconds(server.pid),
  }))
  const started = performance.now()
  const done = await Promise.all(processes.map((process) => process.drain()))
  const seconds =
    relays === 1 ? (done[0]?.seconds ?? Number.NaN) : (performance.now() - started) / 1000
  const per100k = 100_000 / count
  const cpu = {
    relay: done.reduce((sum, each) => sum + each.cpuSeconds, 0) * per100k,
    ...Object.fromEntries(
      before.map(({ name, server, earlier }) => [
        name,
        (cpuSeconds(server.pid) - earlier) * per100k,
      ]),
    ),
  }
  const peak = Math.max(...processes.map(({ peakMegabytes }) => peakMegabytes))
  for (const process of processes) await process[Symbol.asyncDispose]()
  const faults =
    queue === undefined
      ? done.flatMap(({ faults }) => faults)
      : faultsOf(await queue.readBack(spread), count, promisesOrder(kind))
  faults.push(...(await table.leftOver()))
  return { rate: count / seconds, cpu, figures: { messages: count, 'peak MB': peak }, faults }
}

interface Filling {
  readonly kind: RelayKind
  readonly count: number
  readonly keys: Keys
  readonly queue: string
}

async function fill(
  client: Client,
  url: string,
  { kind, count, keys, queue }: Filling,
): Promise<void> {
  switch (kind) {
    case 'bare publishing':
    case 'bare publishing, with properties':
      return
    case 'floor delete':
    case 'floor claimed':
    case 'floor overlap':
    case 'floor overlap, tens':
      return await fillPlain(client, count)
    case 'mersal':
    case 'mersal, bundles':
      return await fillOutbox(client, count, { queue, keys })
    case 'pg-boss':
      return await fillBoss(client, url, count)
    case 'graphile-worker':
      return await fillGraphile(client, url, count)
    case 'pg-transactional-outbox':
      return await fillTransactional(client, count)
    case 'mersal, log':
      throw new Error('the log tells of no row that is there already')
    case 'mysql, floor delete':
    case 'mysql, floor claimed':
    case 'mysql, mersal':
      throw new Error(`${kind} has no table in PostgreSQL`)
    default:
      throw new Error(`there is no relay '${String(kind satisfies never)}'`)
  }
}

const tables: Readonly<Partial<Record<RelayKind, string>>> = {
  'floor delete': 'bench.plain',
  'floor claimed': 'bench.plain',
  'floor overlap': 'bench.plain',
  'floor overlap, tens': 'bench.plain',
  mersal: 'bench.outbox',
  'mersal, bundles': 'bench.outbox',
  'pg-boss': `pgboss.job where state <> 'completed' and name = 'bench'`,
  'graphile-worker': 'graphile_worker._private_jobs',
  'pg-transactional-outbox': unprocessed,
}

/** Rows that are still to be moved although the relay has said that it is done. */
export async function leftOver(client: Client, kind: RelayKind): Promise<string[]> {
  const table = tables[kind]
  if (table === undefined) return []
  const { rows } = await client.query<{ count: string }>(
    `select count(*)::text as count from ${table}`,
  )
  return rows[0]?.count === '0' ? [] : [`${rows[0]?.count} rows left in the table`]
}
