import { heaviest, MOST_DESTINATIONS, OTHER } from './bounded-labels.ts'
import type { Metric, Sample } from './exposition.ts'

type Labels = Readonly<Record<string, string>>

interface Breaker {
  readonly own: Labels
  readonly destination: string
  readonly state: string
}

const states = ['closed', 'open', 'half-open', 'probing']

/**
 * The breakers of destinations. Those in trouble are named first; of the others only the newest are
 * remembered.
 */
export class BreakerMetrics {
  readonly #breakers = new Map<string, Breaker>()

  changed(app: string, own: Labels, destination: string, state: string): void {
    const key = JSON.stringify([app, destination])
    this.#breakers.delete(key)
    if (state !== 'closed' || this.#breakers.size < MOST_DESTINATIONS)
      this.#breakers.set(key, { own, destination, state })
  }

  metric(): Metric {
    const { shown, others } = heaviest([...this.#breakers.values()], ({ state }) =>
      state === 'closed' ? 0 : 1,
    )
    const named = shown.flatMap(({ own, destination, state: current }) =>
      states.map(
        (state): Sample => ({
          labels: { ...own, destination, state },
          value: state === current ? 1 : 0,
        }),
      ),
    )
    const counts = new Map<string, Sample>()
    for (const { own, state } of others) {
      const labels = { ...own, destination: OTHER, state }
      const key = JSON.stringify(labels)
      counts.set(key, { labels, value: (counts.get(key)?.value ?? 0) + 1 })
    }
    return {
      name: 'mersal_relay_breaker',
      kind: 'gauge',
      help: `State of the breaker of a destination; 1 for the present one. '${OTHER}': how many further ones.`,
      samples: [...named, ...counts.values()],
    }
  }
}
