/** One run: servers, processes, faults, healing, draining, checking. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { copyCheckers, duplicates } from './checkers/copies.ts'
import {
  type Evidence,
  faultsIn,
  lifeOf,
  publishesIn,
  settlementsIn,
  transactionsIn,
} from './checkers/evidence.ts'
import { type Finding, findingOf } from './checkers/finding.ts'
import { memory, memoryCheckers, type Memory } from './checkers/memory.ts'
import { featureCheckers } from './checkers/features.ts'
import { metricsTruth } from './checkers/meters.ts'
import { messageCheckers, withDiscarded } from './checkers/messages.ts'
import { processCheckers, recovery, type Recovery } from './checkers/processes.ts'
import { presentBuild, previousBuild } from './builds.ts'
import { errorText, historyFile, openHistory, readHistory } from './history.ts'
import { featureKinds, featureNemeses } from './features/plan.ts'
import { type FeatureCounts, featureCounts, featuresWaiting } from './features/tables.ts'
import { nemesesFor } from './nemeses/all.ts'
import type { AnyPlace, Builds, Nemesis, Scene } from './nemeses/nemesis.ts'
import { isCluster, type StoreKind } from './plan.ts'
import { openKafkaPlace } from './places/kafka.ts'
import { openMysqlPlace } from './places/mysql.ts'
import { openNatsPlace } from './places/nats.ts'
import { openPostgresPlace } from './places/postgres.ts'
import { openRedisPlace } from './places/redis.ts'
import { openSqlitePlace } from './places/sqlite.ts'
import { Program, type ProgramPlan } from './programs.ts'
import { rage } from './schedule.ts'
import { loadAdapters, loadSource, ownSource } from './source.ts'
import { seededRandom } from '../../scripts/seeded-random.ts'

export interface Settings {
  readonly store: StoreKind
  readonly seed: number
  /** How long faults are injected; longer, until each of them has landed. */
  readonly seconds: number
  /** Names; default all that exist for the store. */
  readonly nemeses?: readonly string[]
  /** Sagas, requests once and handling in order beside the other messages. Default false. */
  readonly features?: boolean
  /** The relays read the log of PostgreSQL, which meets faults of its own. Default false. */
  readonly commitLog?: boolean
  /** Default `src`. */
  readonly source?: string
  /**
   * Unknown outcomes and redeliveries that a run must have seen. Default 1, and 10 from 5 minutes
   * on.
   */
  readonly least?: number
  readonly drainSeconds?: number
  /** Keeps the history of a green run as well. */
  readonly keep?: boolean
  readonly say?: (text: string) => void
  /** Gives the run up: everything that it started is ended. */
  readonly signal?: AbortSignal
}

export interface Outcome {
  /** `invalid`: nothing was found, but the run proves nothing. */
  readonly verdict: 'green' | 'red' | 'invalid'
  readonly reasons: readonly string[]
  readonly findings: readonly Finding[]
  readonly faults: Readonly<Record<string, { readonly landed: number; readonly missed: number }>>
  readonly counts: {
    readonly committed: number
    readonly rolledBack: number
    readonly commitsUnknown: number
    readonly published: number
    readonly unknown: number
    readonly redeliveries: number
    readonly effects: number
    readonly deadLetters: number
    readonly features?: FeatureCounts
  }
  readonly duplicates: ReturnType<typeof duplicates>
  readonly recovery: Recovery
  readonly memory: Memory
  readonly versions: Readonly<Record<string, string>>
  readonly seconds: number
  /** Where the history is, if it was kept. */
  readonly kept?: string
}

const QUIET_START_MS = 2000
const LONGEST_START_MS = 60_000
/** Of each kind. */
const WORKING = 50

export async function run(settings: Settings): Promise<Outcome> {
  const began = performance.now()
  const folder = mkdtempSync(join(tmpdir(), 'mersal-chaos-'))
  const say = settings.say ?? (() => {})
  const planned = nemesesFor(settings.store, namesOf(settings), settings.commitLog)
  await using stack = new AsyncDisposableStack()
  const place = await openPlace(settings.store, planned, stack)
  const history = stack.use(openHistory(historyFile(folder, 'harness'), 'harness', 1))
  const builds = await openBuilds(settings, planned, stack)
  const first = typeof builds.previous === 'object' ? builds.previous.first : builds.present
  const adapters = await loadAdapters(first.source)
  await place.prepare(adapters)
  if (settings.features === true) await featuresOf(place).prepare(adapters)
  const programs = plans(settings, place).map(
    (plan) => new Program({ plan, folder, history, build: first }),
  )
  stack.defer(async () => void (await Promise.all(programs.map((program) => program.abandon()))))
  await Promise.all(programs.map((program) => program.start()))
  const scene: Scene = {
    place,
    programs,
    history,
    folder,
    random: seededRandom(settings.seed),
    wiped: new Set(),
    doomed: new Set(),
    builds,
  }
  await sleep(QUIET_START_MS)
  if (settings.features === true) await clerksWork(featuresOf(place))
  const missing = await rage(scene, planned, {
    ms: settings.seconds * 1000,
    say,
    signal: settings.signal,
  })
  settings.signal?.throwIfAborted()
  say('all is healed; draining')
  const widow = await lastAct(scene)
  const stuck = await drain(
    scene,
    (settings.drainSeconds ?? 90) * 1000,
    settings.features === true ? featuresOf(place) : undefined,
  )
  await widow?.start()
  const ends = await Promise.all(
    programs.map(async (program) => ({ name: program.name, how: await program.stop(20_000) })),
  )
  for (const { name, how } of ends)
    if (how !== 'exit 0') stuck.push(`${name} did not stop at the end: ${how}`)
  const evidence = await gather(scene, folder, stuck, settings.features === true)
  const outcome = judge(settings, evidence, missing, (performance.now() - began) / 1000)
  if (outcome.verdict !== 'green' || settings.keep === true) return { ...outcome, kept: folder }
  rmSync(folder, { recursive: true })
  return outcome
}

/**
 * Until they have handled something of each kind, so until their queues are there: a quorum queue
 * whose only node is killed in the first second of its life has no leader ever after.
 */
async function clerksWork(features: NonNullable<AnyPlace['features']>): Promise<void> {
  const deadline = performance.now() + LONGEST_START_MS
  for (;;) {
    const { steps, done } = await features.truth()
    if (done.length >= WORKING && steps.length >= WORKING) return
    if (performance.now() > deadline)
      throw new Error(`the clerks have not begun to work within ${LONGEST_START_MS} ms`)
    await sleep(QUIET_START_MS / 4)
  }
}

/** With the second workload: not those that only know the rows of the first one. */
function namesOf({ store, nemeses, features }: Settings): readonly string[] | undefined {
  if (features !== true || nemeses !== undefined) return nemeses
  return featureNemeses[store]
}

function featuresOf({ kind, features }: AnyPlace): NonNullable<AnyPlace['features']> {
  if (features === undefined || !featureKinds.includes(kind))
    throw new Error(`the second workload does not run on ${kind}`)
  return features
}

async function openPlace(
  store: StoreKind,
  planned: readonly Nemesis[],
  stack: AsyncDisposableStack,
): Promise<AnyPlace> {
  const options = { ownDisks: planned.some(({ needs }) => needs === 'own disks') }
  if (store === 'mysql') return { kind: store, ...stack.use(await openMysqlPlace()) }
  if (store === 'nats') return { kind: store, ...stack.use(await openNatsPlace(options)) }
  if (store === 'kafka') return { kind: store, ...stack.use(await openKafkaPlace(options)) }
  if (store === 'redis') return { kind: store, ...stack.use(await openRedisPlace(options)) }
  return store === 'postgres'
    ? { kind: store, ...stack.use(await openPostgresPlace(options)) }
    : { kind: store, ...stack.use(await openSqlitePlace(options)) }
}

/**
 * A run with the fault of two builds begins with the previous one. Where there is none, the run is
 * invalid.
 */
async function openBuilds(
  settings: Settings,
  planned: readonly Nemesis[],
  stack: AsyncDisposableStack,
): Promise<Builds> {
  const present = presentBuild(settings.source ?? ownSource)
  if (!planned.some(({ needs }) => needs === 'previous build'))
    return { present, previous: undefined }
  try {
    return { present, previous: stack.use(await previousBuild()) }
  } catch (error) {
    const text = errorText(error)
    process.stderr.write(`\n*** NO RUN WITH TWO BUILDS, AND SO AN INVALID ONE: ${text} ***\n\n`)
    return { present, previous: text }
  }
}

function plans(
  { seed, features, commitLog = false }: Settings,
  { address }: AnyPlace,
): ProgramPlan[] {
  const plain = { asyncCommit: false, express: false, batch: 1, features: undefined }
  const common = { address, commitLog, ...plain }
  if (features === true) return featurePlans(seed, common)
  return [
    { ...common, name: 'producer-1', role: 'producer', seed: seed * 10 + 1, express: true },
    {
      ...common,
      name: 'producer-2',
      role: 'producer',
      seed: seed * 10 + 2,
      asyncCommit: isCluster(address.kind),
    },
    { ...common, name: 'relay-1', role: 'relay', seed },
    { ...common, name: 'relay-2', role: 'relay', seed },
    { ...common, name: 'consumer-1', role: 'consumer', seed, express: true },
    { ...common, name: 'consumer-2', role: 'consumer', seed, batch: 4 },
  ]
}

/** One producer, whose answers are durable, and two processes of the app with the saga. */
function featurePlans(
  seed: number,
  common: Omit<ProgramPlan, 'name' | 'role' | 'seed'>,
): ProgramPlan[] {
  const clerk = { ...common, role: 'consumer', seed, express: true, features: 'clerk' } as const
  return [
    {
      ...common,
      name: 'producer-1',
      role: 'producer',
      seed: seed * 10 + 1,
      express: true,
      features: 'producer',
    },
    { ...common, name: 'relay-1', role: 'relay', seed },
    { ...common, name: 'relay-2', role: 'relay', seed },
    { ...common, name: 'consumer-1', role: 'consumer', seed, express: true },
    { ...clerk, name: 'clerk-1' },
    { ...clerk, name: 'clerk-2' },
  ]
}

/**
 * A relay dies with messages in its hands when nobody writes any more: no hint tells the others. It
 * comes back after the drain.
 */
async function lastAct({ programs, history }: Scene): Promise<Program | undefined> {
  const victim = programs.find(({ role }) => role === 'relay')
  const dead = (await victim?.reaches('R3', 'kill', 5000)) === true
  history.note({
    op: 'log',
    phase: 'ok',
    level: 'info',
    text: dead ? 'the last act: a relay was killed' : 'the last act did not come about',
  })
  return dead ? victim : undefined
}

/** Nothing is left to do: no open row, and an effect of every message. */
async function drain(
  { place, programs, wiped }: Scene,
  patienceMs: number,
  features: AnyPlace['features'],
): Promise<string[]> {
  const left = async (): Promise<readonly string[]> =>
    features === undefined ? [] : featuresWaiting(await features.truth())
  const producers = programs.filter(({ role }) => role === 'producer')
  const late = performance.now() + patienceMs
  for (const producer of producers) producer.quiet()
  while (performance.now() < late) {
    const quiet = producers.every(({ reports }) => reports.some(({ kind }) => kind === 'quiet'))
    const { outbox, effects } = await place.waiting(wiped)
    if (quiet && outbox === 0 && effects === 0 && (await left()).length === 0) return []
    await sleep(200)
  }
  const { outbox, effects, detail } = await place.waiting(wiped)
  const quiet = producers
    .filter(({ reports }) => !reports.some(({ kind }) => kind === 'quiet'))
    .map(({ name }) => `${name} still writes`)
  return [
    `${outbox} rows in the outbox, ${effects} messages without effect: ${detail}`,
    ...quiet,
    ...(await left()),
  ]
}

async function gather(
  { place, wiped, doomed, builds }: Scene,
  folder: string,
  stuck: readonly string[],
  withFeatures: boolean,
): Promise<Evidence> {
  const lines = readHistory(folder)
  const features = withFeatures ? { features: await featuresOf(place).truth() } : {}
  const seen = await place.truth(await loadSource(builds.present.source))
  const truth = withDiscarded({ ...seen, ...features }, lines)
  const settled = settlementsIn(lines).flatMap(({ rows, outcome }) =>
    outcome === 'ok'
      ? rows.flatMap(([kind, position, token]) => (kind === 'sent' ? [`${position} ${token}`] : []))
      : [],
  )
  const files = readdirSync(folder).filter((name) => !name.endsWith('.plan.json'))
  const texts = [
    ...truth.texts.map((text) => ['a dead letter', text] as const),
    ...files.map((name) => [name, readFileSync(join(folder, name), 'latin1')] as const),
  ]
  const forms = place.secrets.flatMap((secret) => [
    secret,
    Buffer.from(secret).toString('base64').replace(/=+$/, ''),
  ])
  return {
    store: place.kind,
    truth,
    lines,
    stuck,
    wiped,
    doomed,
    faults: faultsIn(lines),
    publishes: publishesIn(lines),
    transactions: transactionsIn(lines),
    settled: new Set(settled),
    ended: new Set(
      lines.flatMap((line) =>
        line.op === 'exit' && line.how !== 'exit 0'
          ? [lifeOf({ proc: line.of, life: line.ofLife })]
          : [],
      ),
    ),
    leaks: texts.flatMap(([name, text]) =>
      forms.some((form) => text.includes(form)) ? [name] : [],
    ),
    copies: Map.groupBy(truth.arrivals, ({ id }) => id),
  }
}

function judge(
  settings: Settings,
  evidence: Evidence,
  missing: readonly string[],
  seconds: number,
): Outcome {
  const { truth, lines, transactions, publishes } = evidence
  const findings = [
    ...messageCheckers,
    ...copyCheckers,
    ...processCheckers,
    ...memoryCheckers,
    metricsTruth,
    ...(settings.features === true ? featureCheckers : []),
  ].map((checker) => findingOf(checker, evidence))
  const unknown = [...publishes.values()].filter(
    ({ answer }) => answer === undefined || answer.kind === 'unknown',
  ).length
  const commitsUnknown = transactions.filter(({ outcome }) => outcome === 'info').length
  const tracks = lines.filter((line) => line.op === 'track' && line.outcome === 'duplicate').length
  const again = lines.filter(
    (line) => line.op === 'handle' && line.phase === 'invoke' && line.attempt > 1,
  ).length
  const counts = {
    committed: truth.committed.length,
    rolledBack: transactions.filter(({ outcome }) => outcome === 'fail').length,
    commitsUnknown,
    published: truth.arrivals.length,
    unknown,
    redeliveries: tracks + again,
    effects: truth.effects.length,
    deadLetters: truth.dead.size,
    ...(truth.features === undefined ? {} : { features: featureCounts(truth.features) }),
  }
  const least = settings.least ?? (settings.seconds >= 300 ? 10 : 1)
  // A file has no network on which answers are lost: only a process that dies between a publish and
  // its answer leaves one.
  const leastUnknown = isCluster(settings.store) ? least : Math.min(least, 1)
  const vacuous = [
    ...missing.map((name) => `'${name}' never landed`),
    ...(unknown + commitsUnknown < leastUnknown
      ? [`only ${unknown + commitsUnknown} unknown outcomes`]
      : []),
    ...(counts.redeliveries < least ? [`only ${counts.redeliveries} redeliveries`] : []),
    ...(truth.arrivals.length === 0 ? ['the tap is empty'] : []),
  ]
  const red = findings.filter(({ count, limit }) => count > limit)
  const faults: Record<string, { landed: number; missed: number }> = {}
  for (const { name, landed } of evidence.faults) {
    const entry = (faults[name] ??= { landed: 0, missed: 0 })
    entry[landed ? 'landed' : 'missed'] += 1
  }
  return {
    verdict: red.length > 0 ? 'red' : vacuous.length > 0 ? 'invalid' : 'green',
    reasons: [...red.map(({ check, count }) => `${check}: ${count}`), ...vacuous],
    findings,
    faults,
    counts,
    duplicates: duplicates(evidence),
    recovery: recovery(evidence),
    memory: memory(evidence),
    versions: { Node: process.versions.node, ...truth.versions },
    seconds: Math.round(seconds),
  }
}
