import { assemblyOf, type Mersal } from '../app/mersal.ts'
import type { Assembly } from '../app/assembly.ts'
import type { AppHealth, HealthPart } from '../app/health/health.ts'
import type { OutboxOverview } from '../core/operations.ts'
import type { PoolUse } from '../core/store.ts'
import type { Metric, Sample } from './exposition.ts'
import { type HandledMetrics, handledMetrics } from './handled-metrics.ts'
import { nowAndThen } from './now-and-then.ts'
import type { Labels } from './relay-counters.ts'
import {
  createRelayMetrics,
  outboxMetrics,
  type QueuesOfTransport,
  queueMetrics,
  type RelayMetrics,
} from './relay-metrics.ts'

/** The metrics of one app. Counters count from when this was made. */
export interface AppMetrics extends Disposable {
  /** What there is at this moment. Never rejects. */
  metrics(): Promise<readonly Metric[]>
  /** The same without samples: every metric that there may ever be. */
  readonly catalogue: readonly Metric[]
}

/** Asks the database and the brokers at most every 5 seconds, and each at most for 3 seconds. */
export function createAppMetrics(app: Mersal<unknown>): AppMetrics {
  const parts = assemblyOf(app)
  const { name, clock } = parts.settings
  const labels = { app: name }
  const relay = createRelayMetrics(() => clock.monotonic(), new Map([[name, labels]]))
  const handled = handledMetrics(name, labels)
  const running = (): boolean => parts.lifecycle.state === 'running'
  const outbox = nowAndThen(() => outboxOf(parts, labels))
  const queues = nowAndThen(async () => queueMetrics(await queuesOf(parts)))
  return {
    catalogue: catalogueOf(relay, handled, labels),
    async metrics() {
      // A store that is not open has nothing to count.
      const asked = running() ? await Promise.all([outbox(), queues()]) : []
      return [
        ...healthMetrics(await app.health(), labels),
        ...handled.metrics(),
        ...relay.metrics(),
        ...poolMetrics(parts.settings.units?.use?.(), labels),
        ...asked.flat(),
      ]
    },
    [Symbol.dispose]() {
      relay[Symbol.dispose]()
      handled[Symbol.dispose]()
    },
  }
}

const nothing: OutboxOverview = {
  pending: 0,
  claimed: 0,
  dead: 0,
  oldestDueMs: 0,
  due: 0,
  oldestMs: 0,
  kept: 0,
  destinations: [],
  keys: [],
}

function catalogueOf(
  relay: RelayMetrics,
  handled: HandledMetrics,
  labels: Labels,
): readonly Metric[] {
  const health = { status: 'ok', live: true, ready: true, parts: [] } as const
  return [
    ...healthMetrics(health, labels),
    ...handled.metrics(),
    ...relay.metrics(),
    ...poolMetrics({ open: 0, idle: 0, waiting: 0 }, labels),
    ...outboxMetrics(nothing, []),
    ...queueMetrics([]),
  ].map((metric) => ({ ...metric, samples: [] }))
}

const PARTS = ['app', 'store', 'relay', 'receiving', 'destination', 'connections'] as const

function healthMetrics({ live, ready, parts }: AppHealth, labels: Labels): readonly Metric[] {
  const wrong = (part: HealthPart['part']): number =>
    parts.filter((one) => one.part === part && one.status !== 'ok').length
  const troubles = PARTS.map((part) => ({ labels: { ...labels, part }, value: wrong(part) }))
  return [
    gauge('mersal_app_live', 'Whether the app has not stopped.', [{ labels, value: Number(live) }]),
    gauge('mersal_app_ready', 'Whether the app has started and reaches its database.', [
      { labels, value: Number(ready) },
    ]),
    gauge('mersal_app_troubles', 'Parts of the app that are not as they should be.', troubles),
  ]
}

function poolMetrics(use: PoolUse | undefined, labels: Labels): readonly Metric[] {
  const count = (value: number | undefined): readonly Sample[] =>
    value === undefined ? [] : [{ labels, value }]
  return [
    gauge('mersal_pool_open', 'Connections of the pool that are open.', count(use?.open)),
    gauge('mersal_pool_idle', 'Open connections of the pool that nobody uses.', count(use?.idle)),
    gauge('mersal_pool_waiting', 'Callers that wait for a connection.', count(use?.waiting)),
  ]
}

function gauge(name: string, help: string, samples: readonly Sample[]): Metric {
  return { name, kind: 'gauge', help, samples }
}

async function outboxOf<Tx>(
  { settings: { store, storage } }: Assembly<Tx>,
  labels: Labels,
): Promise<readonly Metric[]> {
  const operations = storage === store?.outbox ? store?.operations : undefined
  if (operations?.overview === undefined) return []
  const [overview, pauses] = await Promise.all([
    operations.overview({ keys: 0 }),
    operations.pauses?.list() ?? [],
  ])
  return outboxMetrics(overview, pauses, labels)
}

/** The queue of the app, on each transport that can tell of it. */
async function queuesOf<Tx>({
  settings: { name, sendOnly, transports },
}: Assembly<Tx>): Promise<readonly QueuesOfTransport[]> {
  if (sendOnly) return []
  const looks = [...transports].map(async ([transport, { operations }]) => {
    const found = (await operations?.queues?.({ names: [name] })) ?? []
    return { transport, queues: found.filter(({ queue }) => queue === name) }
  })
  // One broker that is away hides nothing of the others.
  const looked = await Promise.allSettled(looks)
  return looked.flatMap((look) => (look.status === 'fulfilled' ? [look.value] : []))
}
