import { monitorParts } from '../../src/cli/relay/relay-health.ts'
import { createRelayMetrics } from '../../src/metrics/relay-metrics.ts'
import { emit } from '../../src/core/telemetry.ts'
import type { OutboxOverview } from '../../src/core/operations.ts'

export interface MetricRow {
  readonly name: string
  readonly kind: string
  readonly labels: readonly string[]
  readonly help: string
}

const app = 'reference'
const place = { destination: 'default/queue/billing', oldestDueMs: 0, oldestMs: 0, due: 1 }
const counts = { pending: 1, claimed: 0, dead: 0, kept: 0, keys: [] }
const overview: OutboxOverview = {
  ...counts,
  ...place,
  destinations: [{ ...counts, ...place }],
}

/** Lets something of each kind happen, and reads what `/metrics` of a relay then says. */
export async function metricRows(): Promise<readonly MetricRow[]> {
  using metrics = createRelayMetrics(() => 0)
  const of = { app, id: 'a', to: place.destination, attempt: 1 }
  emit('mersal:publish', () => ({ ...of, outcome: 'confirmed' }))
  emit('mersal:dead', () => ({ ...of, reason: 'refused' }))
  emit('mersal:breaker', () => ({ app, destination: place.destination, state: 'open' }))
  const { metrics: read } = monitorParts({
    name: app,
    metrics,
    watched: [
      {
        relay: { app, name: app, state: 'running', held: 0 } as never,
        labels: {},
        store: {
          outbox: {},
          commitLog: { condition: async () => ({ state: 'followed', retainedBytes: 0 }) },
          operations: {
            overview: async () => overview,
            pauses: { list: async () => [{ kind: 'key', name: 'a', reason: '', since: 0 }] },
          },
        } as never,
        patienceMs: 0,
        readsLog: true,
      },
    ],
    queues: async () => [{ transport: 'default', queues: [{ queue: 'a', dead: 0, waiting: 0 }] }],
  })
  return rowsOf(await read())
}

function rowsOf(text: string): MetricRow[] {
  return [...text.matchAll(/^# HELP (\S+) (.*)\n# TYPE \S+ (\S+)\n\S+?(?:\{(.*)\})? \S+$/gm)].map(
    ([, name, help, kind, labels = '']) => ({
      name: name!,
      kind: kind!,
      help: help!,
      labels: [...labels.matchAll(/(\w+)="/g)].map(([, label]) => label!),
    }),
  )
}
