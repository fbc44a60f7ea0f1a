/**
 * Runs the scenario: writers and four relays as processes, the faults in the middle, then the
 * audit.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { postgres } from '../../../src/postgres.ts'
import { rabbitmq } from '../../../src/rabbitmq.ts'
import { privateCluster } from '../../postgres/cluster.ts'
import { type TestDatabase, testDatabase } from '../../postgres/database.ts'
import { openVhost } from '../../rabbitmq/broker.ts'
import { audit, type Findings } from './audit.ts'
import {
  kill,
  type Kill,
  type Scene,
  type Stop,
  loseClaim,
  stop,
  terminateBackend,
  type Termination,
} from './faults.ts'
import { readLog } from './log.ts'
import {
  type Bug,
  type Plan,
  type RelayPlan,
  type WriterPlan,
  WRITERS,
  type Written,
} from './plan.ts'
import { startWorker, type Worker } from './processes.ts'
import { witnessTables } from './witness.ts'

export interface Settings {
  readonly messages: number
  readonly seed: number
  /** Default: that of Mersal. */
  readonly claimMs?: number
  readonly bugs?: readonly Bug[]
}

export interface Outcome {
  readonly findings: Findings
  readonly written: Written
  readonly faults: { readonly kill: Kill; readonly stop: Stop; readonly termination: Termination }
  /** Settlements that the relays were told had changed nothing. */
  readonly stale: number
  readonly seconds: { readonly written: number; readonly drained: number }
}

const DEFAULT_CLAIM_MS = 15_000
/** Shares of all messages: written before the relays start, published before the faults. */
const BACKLOG = 0.5
const BEFORE_TERMINATION = 0.05
const BEFORE_KILL_AND_STOP = 0.1

/** The servers of the scenario. */
export interface Place extends AsyncDisposable {
  readonly database: string
  readonly broker: string
}

export async function openPlace(): Promise<Place> {
  const stack = new AsyncDisposableStack()
  try {
    // The order of the commits is read from the server's own record of them.
    const cluster = stack.use(
      await privateCluster({ track_commit_timestamp: 'on', fsync: 'off', max_connections: '80' }),
    )
    const broker = stack.use(await openVhost())
    return {
      database: cluster.url,
      broker: broker.url,
      [Symbol.asyncDispose]: () => stack.disposeAsync(),
    }
  } catch (error) {
    await stack.disposeAsync()
    throw error
  }
}

export async function runRelays(place: Place, settings: Settings): Promise<Outcome> {
  await using database = await testDatabase(place.database)
  await using stack = new AsyncDisposableStack()
  const { pool, schema } = database
  const shared = { database: place.database, broker: place.broker, schema }
  await prepare(shared, database)
  const scene: Scene = { pool, schema, claimMs: settings.claimMs ?? DEFAULT_CLAIM_MS }
  const startedAt = Date.now()
  const start = (plan: Plan): Worker => stack.use(startWorker(plan))
  const writers = Array.from({ length: WRITERS }, (_, index) =>
    start(writerPlan(settings, index, shared)),
  )
  // With a backlog, the relays have their hands full when the faults come.
  await reached(settings.messages * BACKLOG, () => rows(scene, 'business'))
  const relays = [1, 2, 3, 4].map((number) => start(relayPlan(settings, `relay-${number}`, shared)))
  for (const relay of relays) await relay.told(({ kind }) => kind === 'ready', { withinMs: 20_000 })
  const [written, faults] = await Promise.all([
    finished(writers),
    strike(scene, relays, writers, settings.messages),
  ])
  const writtenAt = Date.now()
  await drained(scene, settings.messages)
  const drainedAt = Date.now()
  await stopRelays(relays.filter(({ name }) => name !== faults.kill.relay))
  const arrivals = await readLog(place.broker, schema)
  const { unknown, stale } = told(relays)
  const findings = await audit({ pool, schema, arrivals, kill: faults.kill, unknown })
  const seconds = {
    written: (writtenAt - startedAt) / 1000,
    drained: (drainedAt - startedAt) / 1000,
  }
  return { findings, written, faults, stale, seconds }
}

type Shared = Pick<RelayPlan, 'database' | 'schema' | 'broker'>

async function prepare({ schema, broker }: Shared, database: TestDatabase): Promise<void> {
  await using store = postgres({ pool: database.newPool(), schema })
  await store.open()
  await database.query(witnessTables(schema))
  await database.query(`drop table ${schema}.business;
    create table ${schema}.business (id uuid not null, key text, place integer not null, late boolean not null)`)
  await using transport = rabbitmq({ url: broker })
  await transport.subscribe(schema, [schema])
}

function relayPlan({ claimMs, bugs }: Settings, name: string, shared: Shared): RelayPlan {
  return {
    role: 'relay',
    name,
    ...shared,
    ...(claimMs === undefined ? {} : { claimMs }),
    ...(bugs === undefined ? {} : { bugs }),
  }
}

function writerPlan(
  { messages, seed }: Settings,
  index: number,
  { database, schema }: Shared,
): WriterPlan {
  return {
    ...({ role: 'writer', name: `writer-${index + 1}`, database, schema } as const),
    seed: seed * WRITERS + index,
    messages: Math.ceil(messages / WRITERS),
    lateEvery: Math.max(40, Math.floor(messages / 100)),
  }
}

/**
 * The third relay loses a backend, then the first is killed and the second stopped; the fourth is
 * left in peace.
 */
async function strike(
  scene: Scene,
  relays: readonly Worker[],
  writers: readonly Worker[],
  messages: number,
): Promise<Outcome['faults']> {
  const [first, second, third, fourth] = relays as [Worker, Worker, Worker, Worker]
  await reached(messages * BEFORE_TERMINATION, () => rows(scene, 'published'))
  const termination = await terminateBackend(scene, third)
  await reached(messages * BEFORE_KILL_AND_STOP, () => rows(scene, 'published'))
  for (const victim of [first, second]) victim.order({ kind: 'dawdle' })
  const [killed, stopped] = await Promise.all([
    kill(scene, first),
    stop(scene, second, [third, fourth]),
  ])
  for (const writer of writers) writer.order({ kind: 'stop' })
  return {
    kill: killed,
    stop: await loseClaim(scene, second, stopped, [third, fourth]),
    termination,
  }
}

async function reached(wanted: number, count: () => Promise<number>): Promise<void> {
  while ((await count()) < wanted) await sleep(50)
}

async function rows(
  { pool, schema }: Scene,
  what: 'business' | 'published' | 'outbox',
): Promise<number> {
  const from = what === 'published' ? `witness_change where op = 'delete'` : what
  return (
    (await pool.query<{ n: number }>(`select count(*)::int as n from ${schema}.${from}`)).rows[0]
      ?.n ?? 0
  )
}

async function finished(writers: readonly Worker[]): Promise<Written> {
  const total = { units: 0, rolledBack: 0, late: 0, savepointsUndone: 0, savepointsKept: 0 }
  for (const writer of writers) {
    const code = await writer.ended
    const report = writer.reports.at(-1)
    if (code !== 0 || report?.kind !== 'written') await writer.told(() => false, { withinMs: 0 })
    else for (const name of Object.keys(total) as (keyof Written)[]) total[name] += report[name]
  }
  return total
}

async function drained(scene: Scene, messages: number): Promise<void> {
  const signal = AbortSignal.timeout(2 * scene.claimMs + 30_000 + messages)
  for (;;) {
    const left = await rows(scene, 'outbox')
    if (left === 0) return
    if (signal.aborted) throw new Error(`not drained: ${left} rows are still in the outbox`)
    await sleep(100)
  }
}

async function stopRelays(relays: readonly Worker[]): Promise<void> {
  for (const relay of relays) relay.order({ kind: 'stop' })
  for (const relay of relays) {
    const code = await relay.ended
    if (code !== 0) throw new Error(`${relay.name} ended with ${code} when it was asked to stop`)
  }
}

function told(relays: readonly Worker[]): {
  readonly unknown: ReadonlySet<string>
  readonly stale: number
} {
  const reports = relays.flatMap((relay) => relay.reports)
  const unknown = reports.flatMap((report) =>
    report.kind === 'unknown' ? [`${report.id} ${report.token}`] : [],
  )
  const stale = reports.reduce(
    (sum, report) => sum + (report.kind === 'settled' ? report.stale : 0),
    0,
  )
  return { unknown: new Set(unknown), stale }
}
