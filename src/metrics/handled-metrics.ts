import type { Events } from '../core/telemetry.ts'
import { eventListeners } from './event-listeners.ts'
import type { Metric } from './exposition.ts'
import { Counter, type Labels } from './relay-counters.ts'

/** Counts what an app has handled. */
export interface HandledMetrics extends Disposable {
  metrics(): readonly Metric[]
}

export function handledMetrics(app: string, labels: Labels): HandledMetrics {
  const deliveries = new Counter()
  const seconds = new Counter()
  seconds.add(labels, 0)
  const listeners = eventListeners()
  listeners.on('mersal:handle', (event: Events['mersal:handle']) => {
    if (event.app !== app) return
    deliveries.add({ ...labels, outcome: event.outcome })
    seconds.add(labels, event.duration / 1000)
  })
  const counter = (name: string, help: string, of: Counter): Metric => ({
    name,
    kind: 'counter',
    help,
    samples: of.samples(),
  })
  return {
    metrics: () => [
      counter('mersal_app_deliveries_total', 'Deliveries, by what became of them.', deliveries),
      counter('mersal_app_deliveries_seconds_total', 'Time that deliveries were in hand.', seconds),
    ],
    [Symbol.dispose]: () => listeners[Symbol.dispose](),
  }
}
