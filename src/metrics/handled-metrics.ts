import { isDeadReason } from '../core/dead-letter.ts'
import type { Events } from '../core/telemetry.ts'
import { OTHER } from './bounded-labels.ts'
import { eventListeners } from './event-listeners.ts'
import type { Metric } from './exposition.ts'
import { Counter, type Labels } from './relay-counters.ts'

const others = new Set(['handled', 'duplicate', 'retry', 'postponed', 'release'])

/** A step of the user may give whatever text it likes as the reason of a dead letter. */
function known(outcome: string): string {
  return others.has(outcome) || isDeadReason(outcome) ? outcome : OTHER
}

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
    deliveries.add({ ...labels, outcome: known(event.outcome) })
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
