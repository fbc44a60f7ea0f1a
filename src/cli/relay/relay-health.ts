import type { RelayStore } from '../../outbox/many-stores/relays-options.ts'
import type { ServedRelay } from '../../outbox/many-stores/store-relay.ts'
import { exposition, type Metric, type Sample } from '../../metrics/exposition.ts'
import type { MonitorParts, Readiness } from './monitor.ts'
import type { TransportQueues } from '../../operate/queues.ts'
import { nowAndThen } from '../../metrics/now-and-then.ts'
import {
  logMetrics,
  mergedMetrics,
  outboxMetrics,
  queueMetrics,
  type RelayMetrics,
} from '../../metrics/relay-metrics.ts'

/** One relay, and what tells how it is. */
export interface Watched {
  readonly relay: ServedRelay
  /** Of its metrics: the name of its store, where there are several. */
  readonly labels: Readonly<Record<string, string>>
  readonly store: Pick<RelayStore, 'operations' | 'outbox' | 'commitLog'>
  /** How long the database may owe the relay an answer. */
  readonly patienceMs: number
  /** It reads the commit log. Default false. */
  readonly readsLog?: boolean
}

export interface HealthPorts {
  readonly name: string
  readonly metrics: RelayMetrics
  readonly watched: readonly Watched[]
  /** Looks at the queues of consumers. */
  readonly queues: () => Promise<readonly TransportQueues[]>
}

/** Most names of destinations in trouble in the answer about all of them. */
const MOST_NAMED = 20

export function monitorParts(ports: HealthPorts): MonitorParts {
  const outboxes = ports.watched.map(countedNowAndThen)
  const queues = nowAndThen(async () => queueMetrics(await ports.queues()))
  return {
    readiness: (store) => readiness(ports, store),
    metrics: async () =>
      exposition([
        ...processMetrics(ports),
        ...ports.metrics.metrics(),
        ...mergedMetrics(await Promise.all([...outboxes.map((count) => count()), queues()])),
      ]),
  }
}

/**
 * Of one store, or of all. With several, the process is ready as long as it serves one of them:
 * that one database is away is no reason to hold up a deployment of the others.
 */
function readiness(
  { watched, metrics }: HealthPorts,
  store: string | undefined,
): Readiness | undefined {
  if (store !== undefined) {
    const one = watched.find(({ relay }) => relay.name === store)
    return one === undefined ? undefined : verdict(trouble(one, metrics))
  }
  const [first] = watched
  if (first !== undefined && watched.length === 1) return verdict(trouble(first, metrics))
  const troubles = watched.flatMap((one) => {
    const reason = trouble(one, metrics)
    return reason === undefined ? [] : [`${one.relay.name}: ${reason}`]
  })
  const lines = [
    ...troubles.slice(0, MOST_NAMED),
    ...(troubles.length > MOST_NAMED ? [`and ${troubles.length - MOST_NAMED} more`] : []),
  ]
  const ready = troubles.length < watched.length
  return { ready, text: [ready ? 'ready' : 'no store is served', ...lines].join('\n') }
}

const verdict = (reason: string | undefined): Readiness => ({
  ready: reason === undefined,
  text: reason ?? 'ready',
})

function trouble({ relay, patienceMs }: Watched, metrics: RelayMetrics): string | undefined {
  if (relay.state === 'opening') return 'the store cannot be opened'
  if (relay.state !== 'running') return `the relay is ${relay.state}`
  const silentMs = metrics.silence.silentMs(relay.app)
  if (silentMs === undefined) return 'the database has not answered yet'
  return silentMs > patienceMs
    ? `the database has not answered for ${Math.round(silentMs / 1000)} s`
    : undefined
}

function processMetrics({ watched, metrics, name }: HealthPorts): readonly Metric[] {
  const gauge = (metric: string, help: string, samples: readonly Sample[]): Metric => ({
    name: metric,
    kind: 'gauge',
    help,
    samples,
  })
  const each = (value: (one: Watched) => number): readonly Sample[] =>
    watched.map((one) => ({ labels: one.labels, value: value(one) }))
  const one = (value: number): readonly Sample[] => [{ labels: {}, value }]
  const running = each(({ relay }) => (relay.state === 'running' ? 1 : 0))
  return [
    gauge(
      'mersal_relay_running',
      'Whether the relay runs.',
      running.map(({ labels, value }) => ({ labels: { relay: name, ...labels }, value })),
    ),
    gauge(
      'mersal_relay_ready',
      'Whether the relay runs and its database answers.',
      each((each) => (trouble(each, metrics) === undefined ? 1 : 0)),
    ),
    gauge(
      'mersal_relay_held_messages',
      'Messages in the hands of this relay.',
      each(({ relay }) => relay.held),
    ),
    gauge('process_resident_memory_bytes', 'Resident memory.', one(process.memoryUsage.rss())),
    gauge(
      'process_start_time_seconds',
      'Start of the process since the Unix epoch.',
      one(Math.round(Date.now() / 1000 - process.uptime())),
    ),
  ]
}

function countedNowAndThen({
  store: { operations, commitLog },
  relay,
  labels,
  readsLog = false,
}: Watched): () => Promise<readonly Metric[]> {
  const count = nowAndThen(async () => {
    const [overview, pauses, log] = await Promise.all([
      operations?.overview?.({ keys: 0 }),
      operations?.pauses?.list() ?? [],
      readsLog ? commitLog?.condition() : undefined,
    ])
    return [
      ...(overview === undefined ? [] : outboxMetrics(overview, pauses, labels)),
      ...(log === undefined ? [] : logMetrics(log, labels)),
    ]
  })
  // A store that cannot be opened has nothing to count.
  return () => (relay.state === 'opening' ? Promise.resolve([]) : count())
}
