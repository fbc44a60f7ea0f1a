import { setTimeout as sleep } from 'node:timers/promises'
import { Client } from 'pg'
import { type RelayProcess, startRelay } from '../relays/process.ts'
import type { BenchServer } from '../server.ts'
import type { Design, Poll } from './designs.ts'

const WRITERS = 4
const PER_TRANSACTION = 250
/**
 * Writers pause while more than this are not yet published: a relay that keeps up, and a table that
 * could stay small.
 */
const MOST_OPEN = 20_000
/** How long after the last message a table is looked at again. */
const REST_MS = 3000

export interface State {
  readonly tableBytes: number
  readonly indexBytes: number
  readonly dead: number
  readonly poll: Poll
}

/** How things stood when this number of messages had been moved. */
export interface Mark {
  readonly moved: number
  readonly seconds: number
  /** Table and indexes. */
  readonly bytes: number
}

export interface Passed {
  readonly seconds: number
  readonly walBytes: number
  readonly cpuSeconds: number
  readonly before: State
  /** Table and indexes, at the most. */
  readonly peakBytes: number
  readonly marks: readonly Mark[]
  readonly after: State
  readonly faults: readonly string[]
}

/** Writers in SQL, the relay in a process of its own, and a transport that confirms at once. */
export async function pass(
  postgres: BenchServer,
  design: Design,
  count: number,
  at: readonly number[] = [],
): Promise<Passed> {
  await using stack = new AsyncDisposableStack()
  const connect = async (): Promise<Client> => {
    const client = stack.adopt(new Client({ connectionString: postgres.url }), (opened) =>
      opened.end(),
    )
    await client.connect()
    return client
  }
  const client = await connect()
  const insert = await design.prepare(client)
  await client.query('checkpoint')
  const before = await stateOf(client, design)
  const walBefore = await walPosition(client)
  const relay = stack.use(
    await startRelay({
      kind: design.relay,
      database: postgres.url,
      expected: count,
      arriving: true,
      keys: 1000,
      ...(design.store && { store: design.store }),
    }),
  )
  const watch = watchSize(client, design, relay, at)
  const started = performance.now()
  const moved = relay.drain()
  const gate = gateFor(relay)
  await Promise.all(
    Array.from(
      { length: WRITERS },
      async (_, index) =>
        await writer(await connect(), { insert, wake: design.wake, index, count, gate }),
    ),
  )
  const done = await moved
  const seconds = (performance.now() - started) / 1000
  const walBytes = (await walPosition(client)) - walBefore
  await sleep(REST_MS)
  const { peakBytes, marks } = await watch.end()
  const after = await stateOf(client, design)
  return {
    seconds,
    walBytes,
    cpuSeconds: done.cpuSeconds,
    before,
    peakBytes,
    marks,
    after,
    faults: done.faults,
  }
}

interface Gate {
  /** Resolves when this number may be written in addition. */
  pass(count: number): Promise<void>
}

function gateFor(relay: RelayProcess): Gate {
  let written = 0
  return {
    async pass(count) {
      while (written - relay.moved > MOST_OPEN) await sleep(2)
      written += count
    },
  }
}

interface Writing {
  readonly insert: string
  readonly wake: string | undefined
  readonly index: number
  readonly count: number
  readonly gate: Gate
}

/** Each writer has keys of its own, so that the order of its commits is that of its numbers. */
async function writer(
  client: Client,
  { insert, wake, index, count, gate }: Writing,
): Promise<void> {
  for (let first = index + 1; first <= count; first += WRITERS * PER_TRANSACTION) {
    const last = Math.min(count, first + WRITERS * PER_TRANSACTION - 1)
    await gate.pass(PER_TRANSACTION)
    await client.query({ name: 'write', text: insert, values: [first, last, WRITERS] })
    if (wake !== undefined) await client.query({ name: 'wake', text: wake })
  }
}

async function sizeOf(client: Client, { table }: Design): Promise<number> {
  const { rows } = await client.query<{ size: string }>(
    `select pg_total_relation_size('${table}')::text as size`,
  )
  return Number(rows[0]?.size)
}

interface Watched {
  readonly peakBytes: number
  readonly marks: readonly Mark[]
}

function watchSize(
  client: Client,
  design: Design,
  relay: RelayProcess,
  at: readonly number[],
): { end(): Promise<Watched> } {
  const over = new AbortController()
  const started = performance.now()
  const marks: Mark[] = []
  let peakBytes = 0
  const look = async (): Promise<void> => {
    const { moved } = relay
    const bytes = await sizeOf(client, design)
    peakBytes = Math.max(peakBytes, bytes)
    const next = at[marks.length]
    if (next !== undefined && moved >= next)
      marks.push({ moved, seconds: (performance.now() - started) / 1000, bytes })
  }
  const watching = (async () => {
    for (; !over.signal.aborted; await sleep(100)) await look()
  })()
  return {
    async end() {
      over.abort()
      await watching
      return { peakBytes, marks }
    },
  }
}

async function walPosition(client: Client): Promise<number> {
  const { rows } = await client.query<{ at: string }>(
    `select (pg_current_wal_insert_lsn() - '0/0')::text as at`,
  )
  return Number(rows[0]?.at)
}

async function stateOf(client: Client, design: Design): Promise<State> {
  await client.query('select pg_stat_force_next_flush()')
  const { rows } = await client.query<Record<'table' | 'index' | 'dead', string>>(`
    select pg_table_size('${design.table}')::text as table, pg_indexes_size('${design.table}')::text as index,
      pg_stat_get_dead_tuples('${design.table}'::regclass)::text as dead`)
  const [row] = rows
  return {
    tableBytes: Number(row?.table),
    indexBytes: Number(row?.index),
    dead: Number(row?.dead),
    poll: await design.poll(client, 9),
  }
}
