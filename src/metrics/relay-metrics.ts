import type { LogCondition } from '../core/commit-log.ts'
import type { OutboxOverview, Pause, QueueOverview } from '../core/operations.ts'
import { boundedSamples, heaviest, largest, OTHER, sum } from './bounded-labels.ts'
import { BreakerMetrics } from './breaker-metrics.ts'
import { eventListeners, type On } from './event-listeners.ts'
import type { Metric, Sample } from './exposition.ts'
import { type Silence, watchSilence } from './silence.ts'
import { counterMetrics, type Labels, type RelayCounters, relayCounters } from './relay-counters.ts'

/** Counts what the relay of this process does, from its events. */
export interface RelayMetrics extends Disposable {
  readonly silence: Pick<Silence, 'silentMs'>
  metrics(): readonly Metric[]
}

/**
 * `labels`: by the name of each app whose relay is looked at, such as that of its store. Default:
 * all, without labels.
 */
export function createRelayMetrics(
  monotonic: () => number,
  labels: ReadonlyMap<string, Labels> = new Map(),
): RelayMetrics {
  const counters = relayCounters(labels.size === 0 ? [{}] : [...labels.values()])
  const breakers = new BreakerMetrics()
  const silence = watchSilence(monotonic)
  const listeners = eventListeners()
  const of = (app: string): Labels => labels.get(app) ?? {}
  const on: On = (name, listener) =>
    listeners.on(name, (event) => {
      if (labels.size === 0 || labels.has(event.app)) listener(event)
    })

  count(on, counters, of)
  on('mersal:breaker', ({ app, destination, state }) =>
    breakers.changed(app, of(app), destination, state),
  )
  return {
    silence,
    metrics: () => [...counterMetrics(counters), breakers.metric()],
    [Symbol.dispose]() {
      listeners[Symbol.dispose]()
      silence[Symbol.dispose]()
    },
  }
}

/** Counts the events of the relays. */
function count(on: On, counters: RelayCounters, of: (app: string) => Labels): void {
  on('mersal:publish', ({ app, to, outcome }) =>
    counters.published.add({ ...of(app), destination: to, outcome }),
  )
  on('mersal:claim', ({ app, messages }) => {
    counters.claims.add(of(app))
    counters.claimed.add(of(app), messages)
  })
  on('mersal:claim-failed', ({ app }) => counters.claimFailures.add(of(app)))
  on('mersal:settle', ({ app, messages, stale }) => {
    counters.settled.add(of(app), messages - stale)
    counters.lost.add(of(app), stale)
  })
  on('mersal:dead', ({ app, to, reason }) =>
    counters.dead.add({ ...of(app), destination: to, reason }),
  )
  on('mersal:expired', ({ app, by }) => {
    if (by === 'relay') counters.expired.add(of(app))
  })
  on('mersal:wake', ({ app }) => counters.wakes.add(of(app)))
}

/** The same metrics of several stores, as one each. */
export function mergedMetrics(parts: readonly (readonly Metric[])[]): readonly Metric[] {
  const merged = new Map<string, Metric>()
  for (const metric of parts.flat()) {
    const known = merged.get(metric.name)
    merged.set(
      metric.name,
      known === undefined ? metric : { ...known, samples: [...known.samples, ...metric.samples] },
    )
  }
  return [...merged.values()]
}

/** Gauges of what the database holds, the same from every relay. */
export function outboxMetrics(
  overview: OutboxOverview,
  pauses: readonly Pause[],
  labels: Labels = {},
): readonly Metric[] {
  const gauge: Gauge = (name, help, samples) => ({
    name: `mersal_outbox_${name}`,
    kind: 'gauge',
    help,
    samples: samples.map((sample) => ({ ...sample, labels: { ...labels, ...sample.labels } })),
  })
  return [
    ...totals(overview, gauge),
    ...byDestination(overview, gauge),
    gauge('paused', 'What operators have paused.', pausedSamples(pauses)),
  ]
}

/** Gauges of the commit log, the same from every relay. */
export function logMetrics(
  { state, retainedBytes }: LogCondition,
  labels: Labels = {},
): readonly Metric[] {
  const gauge = (name: string, help: string, value: number): Metric => ({
    name: `mersal_commit_log_${name}`,
    kind: 'gauge',
    help,
    samples: [{ labels, value }],
  })
  return [
    gauge(
      'followed',
      'Whether a relay reads the commit log of the database.',
      state === 'followed' ? 1 : 0,
    ),
    gauge(
      'retained_bytes',
      'Bytes of the log that the server keeps for the relay that reads it.',
      retainedBytes,
    ),
  ]
}

type Gauge = (name: string, help: string, samples: readonly Sample[]) => Metric

function totals(overview: OutboxOverview, gauge: Gauge): readonly Metric[] {
  const one = (name: string, help: string, value: number): Metric =>
    gauge(name, help, [{ labels: {}, value }])
  const { pending, due, claimed, dead, oldestMs, oldestDueMs, refused = 0 } = overview
  const { waitingMs = oldestDueMs } = overview
  return [
    one('pending', 'Messages that are not confirmed, without dead letters.', pending),
    one('due', 'Messages that a relay may take now.', due),
    one('claimed', 'Messages in the hands of relays and writers.', claimed),
    one('dead', 'Dead letters.', dead),
    one('oldest_seconds', 'Age of the oldest message that is not confirmed.', oldestMs / 1000),
    one(
      'overdue_seconds',
      'How long the oldest message whose time has come has been waiting.',
      oldestDueMs / 1000,
    ),
    one(
      'behind_seconds',
      'The same without messages that are paused or wait for an earlier one of their key: how far the relays are behind.',
      waitingMs / 1000,
    ),
    one('refused', 'Messages that were refused so far and are tried again.', refused),
  ]
}

function byDestination({ destinations }: OutboxOverview, gauge: Gauge): readonly Metric[] {
  const rows = heaviest(destinations, ({ pending, dead }) => pending + dead)
  type Row = OutboxOverview['destinations'][number]
  const labels = (row: Row | undefined): Labels => ({ destination: row?.destination ?? OTHER })
  const each = (
    name: string,
    help: string,
    of: (row: Row) => number,
    together: typeof sum = sum,
  ): Metric => gauge(`destination_${name}`, help, boundedSamples(rows, labels, of, together))
  return [
    each('pending', 'Messages that are not confirmed, by destination.', ({ pending }) => pending),
    each('dead', 'Dead letters, by destination.', ({ dead }) => dead),
    each(
      'oldest_seconds',
      'Age of the oldest message that is not confirmed, by destination.',
      ({ oldestMs }) => oldestMs / 1000,
      largest,
    ),
    each(
      'refused',
      'Messages that were refused so far, by destination.',
      ({ refused = 0 }) => refused,
    ),
  ]
}

function pausedSamples(pauses: readonly Pause[]): readonly Sample[] {
  const rows = heaviest(pauses, ({ since }) => -since)
  return boundedSamples(
    rows,
    (pause) => ({ kind: pause?.kind ?? OTHER, name: pause?.name ?? OTHER }),
    () => 1,
    sum,
  )
}

/** The queues of one transport. */
export interface QueuesOfTransport {
  readonly transport: string
  readonly queues: readonly QueueOverview[]
}

/** Gauges of the queues of consumers, the same from every relay. */
export function queueMetrics(found: readonly QueuesOfTransport[]): readonly Metric[] {
  const all = found.flatMap(({ transport, queues }) =>
    queues.map((queue) => ({ transport, ...queue })),
  )
  const rows = heaviest(all, ({ dead, waiting }) => dead * 1e9 + waiting)
  type Row = (typeof all)[number]
  const gauge = (name: string, help: string, of: (row: Row) => number): Metric => ({
    name: `mersal_queue_${name}`,
    kind: 'gauge',
    help,
    samples: boundedSamples(
      rows,
      (row) => ({ transport: row?.transport ?? OTHER, queue: row?.queue ?? OTHER }),
      of,
      sum,
    ),
  })
  return [
    gauge('dead', 'Dead letters of consumers, by queue.', ({ dead }) => dead),
    gauge('waiting', 'Messages that wait for consumers, by queue.', ({ waiting }) => waiting),
  ]
}
