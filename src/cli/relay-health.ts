import type { Store } from '../core/store.ts'
import { systemClock } from '../lib/clock.ts'
import type { Relay } from '../outbox/types.ts'
import { exposition, type Metric } from './exposition.ts'
import type { MonitorParts } from './monitor.ts'
import { outboxMetrics, type RelayMetrics } from './relay-metrics.ts'

export interface HealthPorts {
  readonly name: string
  readonly relay: Relay
  readonly metrics: RelayMetrics
  readonly store: Store<unknown>
  /** The database must have answered a claim within this time. */
  readonly patienceMs: number
}

/** The whole table is counted at most this often, and at most a tenth of the time. */
const SHORTEST_MS = 5000
const REST_FACTOR = 10
/** Whoever collects metrics does not wait for ever. */
const LONGEST_WAIT_MS = 3000

export function monitorParts(ports: HealthPorts): MonitorParts {
  const outbox = countedNowAndThen(ports.store)
  return {
    notReady: () => notReady(ports),
    metrics: async () => exposition([...processMetrics(ports), ...ports.metrics.metrics(), ...(await outbox())]),
  }
}

function notReady({ relay, metrics, patienceMs }: HealthPorts): string | undefined {
  if (relay.state !== 'running') return `the relay is ${relay.state}`
  if (metrics.claimedAt === undefined) return 'the database has not answered yet'
  const silentMs = systemClock.monotonic() - metrics.claimedAt
  return silentMs > patienceMs ? `the database has not answered for ${Math.round(silentMs / 1000)} s` : undefined
}

function processMetrics({ relay, name }: HealthPorts): readonly Metric[] {
  const gauge = (metric: string, help: string, value: number, labels = {}): Metric => ({
    name: metric,
    kind: 'gauge',
    help,
    samples: [{ labels, value }],
  })
  return [
    gauge('mersal_relay_running', 'Whether the relay runs.', relay.state === 'running' ? 1 : 0, { relay: name }),
    gauge('mersal_relay_held_messages', 'Messages in the hands of this relay.', relay.held),
    gauge('process_resident_memory_bytes', 'Resident memory.', process.memoryUsage.rss()),
    gauge('process_start_time_seconds', 'Start of the process since the Unix epoch.', Math.round(Date.now() / 1000 - process.uptime())),
  ]
}

/** Remembers the last answer, so that frequent questions cost the database nothing. */
function countedNowAndThen({ operations }: Store<unknown>): () => Promise<readonly Metric[]> {
  let known: readonly Metric[] = []
  let notBefore = 0
  let counting: Promise<void> | undefined

  async function count(): Promise<void> {
    const begun = systemClock.monotonic()
    const [overview, pauses] = await Promise.all([operations?.overview?.({ keys: 0 }), operations?.pauses?.list() ?? []])
    known = overview === undefined ? [] : outboxMetrics(overview, pauses)
    const took = systemClock.monotonic() - begun
    notBefore = systemClock.monotonic() + Math.max(SHORTEST_MS, took * REST_FACTOR)
  }

  return async () => {
    if (systemClock.monotonic() >= notBefore) {
      counting ??= count().finally(() => {
        counting = undefined
      })
      const counted = counting.then(
        () => true,
        () => false,
      )
      // Without the database the figures of the relay itself are still worth telling; old ones of the outbox are not.
      if (!(await Promise.race([counted, systemClock.sleep(LONGEST_WAIT_MS).then(() => false)]))) known = []
    }
    return known
  }
}
