import { channel } from 'node:diagnostics_channel'
import type { OutboxOverview, Pause } from '../../core/operations.ts'
import type { EventName, Events } from '../../core/telemetry.ts'
import {
  boundedSamples,
  heaviest,
  largest,
  MOST_DESTINATIONS,
  OTHER,
  sum,
} from './bounded-labels.ts'
import { BreakerMetrics } from './breaker-metrics.ts'
import type { Metric, Sample } from './exposition.ts'
import type { TransportQueues } from '../status/queues.ts'

/** Counts what the relay of this process does, from its events. */
export interface RelayMetrics extends Disposable {
  /** Monotonic milliseconds of the last claim of this app that was answered, or undefined. */
  claimedAt(app: string): number | undefined
  metrics(): readonly Metric[]
}

/** Counters by their labels. */
class Counter {
  readonly #values = new Map<
    string,
    { readonly labels: Readonly<Record<string, string>>; value: number }
  >()
  readonly #destinations = new Set<string>()

  add(given: Readonly<Record<string, string>> = {}, by = 1): void {
    const labels = this.#bounded(given)
    const key = JSON.stringify(labels)
    const known = this.#values.get(key)
    if (known === undefined) this.#values.set(key, { labels, value: by })
    else known.value += by
  }

  samples(): readonly Sample[] {
    return [...this.#values.values()]
  }

  /**
   * A counter may not change its labels, so the first destinations keep theirs, and all later ones
   * share one.
   */
  #bounded(labels: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
    const { destination } = labels
    if (destination === undefined || this.#destinations.has(destination)) return labels
    if (this.#destinations.size >= MOST_DESTINATIONS) return { ...labels, destination: OTHER }
    this.#destinations.add(destination)
    return labels
  }
}

/**
 * `labels`: by the name of each app whose relay runs here, such as that of its store. Default:
 * none.
 */
export function createRelayMetrics(
  monotonic: () => number,
  labels: ReadonlyMap<string, Readonly<Record<string, string>>> = new Map(),
): RelayMetrics {
  const counters = {
    published: new Counter(),
    claims: new Counter(),
    claimed: new Counter(),
    claimFailures: new Counter(),
    settled: new Counter(),
    lost: new Counter(),
    dead: new Counter(),
    wakes: new Counter(),
  }
  const breakers = new BreakerMetrics()
  const claimedAt = new Map<string, number>()
  const undo: (() => void)[] = []

  function on<Name extends EventName>(name: Name, listener: (event: Events[Name]) => void): void {
    const target = channel(name)
    const subscriber = (event: unknown): void => listener(event as Events[Name])
    target.subscribe(subscriber)
    undo.push(() => target.unsubscribe(subscriber))
  }

  const of = (app: string): Readonly<Record<string, string>> => labels.get(app) ?? {}
  // Those without further labels are there from the beginning, as 0.
  for (const own of labels.size === 0 ? [{}] : labels.values()) {
    for (const counter of [
      counters.claims,
      counters.claimed,
      counters.claimFailures,
      counters.settled,
      counters.lost,
      counters.wakes,
    ]) {
      counter.add(own, 0)
    }
  }

  on('mersal:publish', ({ app, to, outcome }) =>
    counters.published.add({ ...of(app), destination: to, outcome }),
  )
  on('mersal:claim', ({ app, messages }) => {
    claimedAt.set(app, monotonic())
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
  on('mersal:wake', ({ app }) => counters.wakes.add(of(app)))
  on('mersal:breaker', ({ app, destination, state }) =>
    breakers.changed(app, of(app), destination, state),
  )

  return {
    claimedAt: (app) => claimedAt.get(app),
    metrics() {
      const counter = (name: string, help: string, counted: Counter): Metric => ({
        name: `mersal_relay_${name}_total`,
        kind: 'counter',
        help,
        samples: counted.samples(),
      })
      return [
        counter(
          'published',
          'Answers of brokers to published messages, by outcome.',
          counters.published,
        ),
        counter('claims', 'Claims that the database answered.', counters.claims),
        counter('claimed_messages', 'Messages taken by claims.', counters.claimed),
        counter('claim_failures', 'Claims that failed.', counters.claimFailures),
        counter('settled', 'Settlements recorded.', counters.settled),
        counter(
          'lost_claims',
          'Settlements that changed nothing, because the claim had been lost.',
          counters.lost,
        ),
        counter('dead', 'Messages that this relay gave up.', counters.dead),
        counter('wakes', 'Hints that there may be messages.', counters.wakes),
        breakers.metric(),
      ]
    },
    [Symbol.dispose]: () => {
      for (const one of undo) one()
    },
  }
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
  labels: Readonly<Record<string, string>> = {},
): readonly Metric[] {
  const gauge = (name: string, help: string, samples: readonly Sample[]): Metric => ({
    name: `mersal_outbox_${name}`,
    kind: 'gauge',
    help,
    samples: samples.map((sample) => ({ ...sample, labels: { ...labels, ...sample.labels } })),
  })
  const one = (name: string, help: string, value: number): Metric =>
    gauge(name, help, [{ labels: {}, value }])
  const rows = heaviest(overview.destinations, ({ pending, dead }) => pending + dead)
  type Row = OutboxOverview['destinations'][number]
  const each = (
    name: string,
    help: string,
    of: (row: Row) => number,
    together: typeof sum = sum,
  ): Metric =>
    gauge(
      `destination_${name}`,
      help,
      boundedSamples(rows, (row) => ({ destination: row?.destination ?? OTHER }), of, together),
    )
  return [
    one('pending', 'Messages that are not confirmed, without dead letters.', overview.pending),
    one('due', 'Messages that a relay may take now.', overview.due),
    one('claimed', 'Messages in the hands of relays and writers.', overview.claimed),
    one('dead', 'Dead letters.', overview.dead),
    one(
      'oldest_seconds',
      'Age of the oldest message that is not confirmed.',
      overview.oldestMs / 1000,
    ),
    one(
      'overdue_seconds',
      'How long the oldest message whose time has come has been waiting.',
      overview.oldestDueMs / 1000,
    ),
    one(
      'behind_seconds',
      'The same without messages that are paused or wait for an earlier one of their key: how far the relays are behind.',
      (overview.waitingMs ?? overview.oldestDueMs) / 1000,
    ),
    one('refused', 'Messages that were refused so far and are tried again.', overview.refused ?? 0),
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
    gauge('paused', 'What operators have paused.', pausedSamples(pauses)),
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

/** Gauges of the queues of consumers, the same from every relay. */
export function queueMetrics(found: readonly TransportQueues[]): readonly Metric[] {
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
