import { Client, Pool } from 'pg'
import { Mersal } from '../../src/index.ts'
import { memoryTransport } from '../../src/memory.ts'
import { postgres as postgresStore, type PostgresClient } from '../../src/postgres.ts'
import { Happened, makeTables } from '../backlog.ts'
import { explainClaim, type Figure } from '../claim/section.ts'
import { amount, type Effort } from '../effort.ts'
import { jsonOf, thousandKeys } from '../messages.ts'
import { startRelay } from '../relays/process.ts'
import type { Table } from '../report.ts'
import type { BenchServer } from '../servers.ts'

const WRITERS = 4
const PER_TRANSACTION = 100

/** Very many messages through the outbox: what they leave behind in the table, and what they cost the log. One run. */
export async function churn(effort: Effort): Promise<Table[]> {
  const postgres = await effort.servers.postgres()
  await makeTables(postgres.url)
  const client = new Client({ connectionString: postgres.url })
  await client.connect()
  try {
    const count = amount(effort, 1_000_000, 20_000)
    await client.query('vacuum analyze bench.outbox')
    await client.query('checkpoint')
    const before = await stateOf(client)
    const { seconds, faults } = await pass(postgres, count)
    const after = await stateOf(client)
    await client.query('vacuum bench.outbox')
    const vacuumed = await stateOf(client)
    return [tableFor({ count, seconds, faults, before, after, vacuumed, version: postgres.version })]
  } finally {
    await client.end()
  }
}

/** Writers in this process, the relay in its own, and a transport that confirms at once. */
async function pass({ url }: BenchServer, count: number): Promise<{ seconds: number; faults: readonly string[] }> {
  await using relay = await startRelay({ kind: 'mersal', postgres: url, expected: count, arriving: true, keys: 1000 })
  const pool = new Pool({ connectionString: url, max: WRITERS })
  const app = new Mersal({
    name: 'bench',
    sendOnly: true,
    store: postgresStore({ pool, schema: 'bench', migrate: 'check' }),
    transport: memoryTransport(),
    routes: { [Happened.name]: 'bench' },
    outbox: { runRelay: false },
  })
  const moved = relay.drain()
  const started = performance.now()
  await Promise.all(Array.from({ length: WRITERS }, (_, index) => writer(app, index, count)))
  const { faults } = await moved
  const seconds = (performance.now() - started) / 1000
  await app.stop()
  await pool.end()
  return { seconds, faults }
}

/** Each writer has keys of its own, so that the order of its commits is that of its numbers. */
async function writer(app: Mersal<PostgresClient>, index: number, count: number): Promise<void> {
  for (let first = index + 1; first <= count; first += WRITERS * PER_TRANSACTION) {
    const last = Math.min(count, first + WRITERS * PER_TRANSACTION - 1)
    await app.transaction(async (_, { send }) => {
      for (let number = first; number <= last; number += WRITERS) {
        await send(Happened, jsonOf(number), { partitionKey: thousandKeys.of(number) as string })
      }
    })
  }
}

interface State {
  readonly tableBytes: number
  readonly indexBytes: number
  readonly dead: number
  readonly wal: number
  readonly claim: Omit<Figure, 'name'>
}

async function stateOf(client: Client): Promise<State> {
  await client.query('select pg_stat_force_next_flush()')
  const { rows } = await client.query<Record<'table' | 'index' | 'dead' | 'wal', string>>(`
    select pg_table_size('bench.outbox')::text as table, pg_indexes_size('bench.outbox')::text as index,
      pg_stat_get_dead_tuples('bench.outbox'::regclass)::text as dead, (pg_current_wal_insert_lsn() - '0/0')::text as wal`)
  const [row] = rows
  const wal = Number(row?.wal)
  const claim = await explainClaim(client, 0, 5)
  return { tableBytes: Number(row?.table), indexBytes: Number(row?.index), dead: Number(row?.dead), wal, claim }
}

interface Churned {
  readonly count: number
  readonly seconds: number
  readonly faults: readonly string[]
  readonly before: State
  readonly after: State
  readonly vacuumed: State
  readonly version: string
}

function tableFor(churned: Churned): Table {
  const { count, seconds, faults, before, after, vacuumed, version } = churned
  const mb = (bytes: number): string => (bytes / 1e6).toFixed(1)
  const row = (name: string, state: State): string[] => [
    name,
    mb(state.tableBytes),
    mb(state.indexBytes),
    state.dead.toLocaleString('en-US'),
    state.claim.ms.toFixed(2),
    state.claim.buffers.toLocaleString('en-US'),
  ]
  const walBytes = (after.wal - before.wal) / count
  return {
    id: 'churn',
    title: `${count.toLocaleString('en-US')} messages written and relayed at the same time, ${version}`,
    head: ['the outbox', 'table MB', 'indexes MB', 'dead rows', 'empty claim ms', 'shared buffers'],
    rows: [row('before', before), row('after', after), row('after a vacuum', vacuumed)],
    notes: [
      `${Math.round(count / seconds).toLocaleString('en-US')} messages/s; ${Math.round(walBytes)} bytes of log per message of 256 bytes; check: ${faults.length === 0 ? 'ok' : `**${faults.join('; ')}**`}.`,
    ],
    faults,
    data: { ...churned, walBytes },
  }
}
