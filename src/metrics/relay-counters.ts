import { lastingName } from '../core/messages/reply-queues.ts'
import { MOST_DESTINATIONS, OTHER } from './bounded-labels.ts'
import type { Metric, Sample } from './exposition.ts'

export type Labels = Readonly<Record<string, string>>

/** Counters by their labels. */
export class Counter {
  readonly #values = new Map<string, { readonly labels: Labels; value: number }>()
  readonly #destinations = new Set<string>()

  add(given: Labels = {}, by = 1): void {
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
  #bounded(labels: Labels): Labels {
    if (labels['destination'] === undefined) return labels
    const destination = lastingName(labels['destination'])
    if (this.#destinations.has(destination)) return { ...labels, destination }
    if (this.#destinations.size >= MOST_DESTINATIONS) return { ...labels, destination: OTHER }
    this.#destinations.add(destination)
    return { ...labels, destination }
  }
}

interface Counted {
  /** Of the metric: between `mersal_relay_` and `_total`. */
  readonly name: string
  readonly help: string
  /** It has no labels but those of the app, so that it is there from the beginning, as 0. */
  readonly fromStart: boolean
}

type Kind =
  | 'published'
  | 'claims'
  | 'claimed'
  | 'claimFailures'
  | 'settled'
  | 'lost'
  | 'dead'
  | 'expired'
  | 'wakes'

const counted: Readonly<Record<Kind, Counted>> = {
  published: {
    name: 'published',
    help: 'Answers of brokers to published messages, by outcome.',
    fromStart: false,
  },
  claims: { name: 'claims', help: 'Claims that the database answered.', fromStart: true },
  claimed: { name: 'claimed_messages', help: 'Messages taken by claims.', fromStart: true },
  claimFailures: { name: 'claim_failures', help: 'Claims that failed.', fromStart: true },
  settled: { name: 'settled', help: 'Settlements recorded.', fromStart: true },
  lost: {
    name: 'lost_claims',
    help: 'Settlements that changed nothing, because the claim had been lost.',
    fromStart: true,
  },
  dead: { name: 'dead', help: 'Messages that this relay gave up.', fromStart: false },
  expired: {
    name: 'expired',
    help: 'Messages that expired before they were published.',
    fromStart: true,
  },
  wakes: { name: 'wakes', help: 'Hints that there may be messages.', fromStart: true },
}

export type RelayCounters = Readonly<Record<Kind, Counter>>

const kinds = Object.keys(counted) as readonly Kind[]

/** `apps`: the labels of each app. */
export function relayCounters(apps: readonly Labels[]): RelayCounters {
  const made = kinds.map((kind) => {
    const counter = new Counter()
    if (counted[kind].fromStart) for (const labels of apps) counter.add(labels, 0)
    return [kind, counter] as const
  })
  return Object.fromEntries(made) as RelayCounters
}

export function counterMetrics(counters: RelayCounters): readonly Metric[] {
  return kinds.map((kind) => ({
    name: `mersal_relay_${counted[kind].name}_total`,
    kind: 'counter',
    help: counted[kind].help,
    samples: counters[kind].samples(),
  }))
}
