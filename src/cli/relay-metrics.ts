import { channel } from 'node:diagnostics_channel'
import type { OutboxOverview, Pause } from '../core/operations.ts'
import type { EventName, Events } from '../core/telemetry.ts'
import type { Metric, Sample } from './exposition.ts'

/** Counts what the relay of this process does, from its events. */
export interface RelayMetrics extends Disposable {
  /** Monotonic milliseconds of the last claim that was answered, or undefined. */
  readonly claimedAt: number | undefined
  metrics(): readonly Metric[]
}

/** Counters by their labels. */
class Counter {
  readonly #values = new Map<string, { readonly labels: Readonly<Record<string, string>>; value: number }>()

  add(labels: Readonly<Record<string, string>> = {}, by = 1): void {
    const key = JSON.stringify(labels)
    const known = this.#values.get(key)
    if (known === undefined) this.#values.set(key, { labels, value: by })
    else known.value += by
  }

  /** A counter without labels is there from the beginning, as 0. */
  samples(zero = false): readonly Sample[] {
    return zero && this.#values.size === 0 ? [{ labels: {}, value: 0 }] : [...this.#values.values()]
  }
}

const breakerStates = ['closed', 'open', 'half-open', 'probing']

export function createRelayMetrics(monotonic: () => number): RelayMetrics {
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
  const breakers = new Map<string, string>()
  let claimedAt: number | undefined
  const undo: (() => void)[] = []

  function on<Name extends EventName>(name: Name, listener: (event: Events[Name]) => void): void {
    const target = channel(name)
    const subscriber = (event: unknown): void => listener(event as Events[Name])
    target.subscribe(subscriber)
    undo.push(() => target.unsubscribe(subscriber))
  }

  on('mersal:publish', ({ to, outcome }) => counters.published.add({ destination: to, outcome }))
  on('mersal:claim', ({ messages }) => {
    claimedAt = monotonic()
    counters.claims.add()
    counters.claimed.add({}, messages)
  })
  on('mersal:claim-failed', () => counters.claimFailures.add())
  on('mersal:settle', ({ messages, stale }) => {
    counters.settled.add({}, messages - stale)
    counters.lost.add({}, stale)
  })
  on('mersal:dead', ({ to, reason }) => counters.dead.add({ destination: to, reason }))
  on('mersal:wake', () => counters.wakes.add())
  on('mersal:breaker', ({ destination, state }) => breakers.set(destination, state))

  return {
    get claimedAt() {
      return claimedAt
    },
    metrics() {
      const counter = (name: string, help: string, counted: Counter, zero = true): Metric => ({
        name: `mersal_relay_${name}_total`,
        kind: 'counter',
        help,
        samples: counted.samples(zero),
      })
      const states = [...breakers].flatMap(([destination, current]) =>
        breakerStates.map((state) => ({ labels: { destination, state }, value: state === current ? 1 : 0 })),
      )
      return [
        counter('published', 'Answers of brokers to published messages, by outcome.', counters.published, false),
        counter('claims', 'Claims that the database answered.', counters.claims),
        counter('claimed_messages', 'Messages taken by claims.', counters.claimed),
        counter('claim_failures', 'Claims that failed.', counters.claimFailures),
        counter('settled', 'Settlements recorded.', counters.settled),
        counter('lost_claims', 'Settlements that changed nothing, because the claim had been lost.', counters.lost),
        counter('dead', 'Messages that this relay gave up.', counters.dead, false),
        counter('wakes', 'Hints that there may be messages.', counters.wakes),
        {
          name: 'mersal_relay_breaker',
          kind: 'gauge',
          help: 'State of the breaker of a destination; 1 for the present one.',
          samples: states,
        },
      ]
    },
    [Symbol.dispose]: () => {
      for (const one of undo) one()
    },
  }
}

/** Gauges of what the database holds, the same from every relay. */
export function outboxMetrics(overview: OutboxOverview, pauses: readonly Pause[]): readonly Metric[] {
  const gauge = (name: string, help: string, samples: readonly Sample[]): Metric => ({
    name: `mersal_outbox_${name}`,
    kind: 'gauge',
    help,
    samples,
  })
  const one = (name: string, help: string, value: number): Metric => gauge(name, help, [{ labels: {}, value }])
  const each = (name: string, help: string, of: (row: OutboxOverview['destinations'][number]) => number): Metric =>
    gauge(
      `destination_${name}`,
      help,
      overview.destinations.map((row) => ({ labels: { destination: row.destination }, value: of(row) })),
    )
  return [
    one('pending', 'Messages that are not confirmed, without dead letters.', overview.pending),
    one('due', 'Messages that a relay may take now.', overview.due),
    one('claimed', 'Messages in the hands of relays and writers.', overview.claimed),
    one('dead', 'Dead letters.', overview.dead),
    one('oldest_seconds', 'Age of the oldest message that is not confirmed.', overview.oldestMs / 1000),
    one('overdue_seconds', 'How long the oldest message that may leave has been waiting.', overview.oldestDueMs / 1000),
    each('pending', 'Messages that are not confirmed, by destination.', ({ pending }) => pending),
    each('dead', 'Dead letters, by destination.', ({ dead }) => dead),
    each('oldest_seconds', 'Age of the oldest message that is not confirmed, by destination.', ({ oldestMs }) => oldestMs / 1000),
    gauge(
      'paused',
      'What operators have paused.',
      pauses.map(({ kind, name }) => ({ labels: { kind, name }, value: 1 })),
    ),
  ]
}
