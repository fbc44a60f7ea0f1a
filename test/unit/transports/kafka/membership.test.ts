import { getEventListeners } from 'node:events'
import { setTimeout as wait } from 'node:timers/promises'
import { expect, test } from 'vitest'
import type { Cluster } from '../../../../src/transports/kafka/connection/cluster.ts'
import { Membership } from '../../../../src/transports/kafka/consume/membership.ts'
import { kafkaSettings } from '../../../../src/transports/kafka/options.ts'
import { namesOf } from '../../../../src/transports/kafka/topology/names.ts'
import type { Topology } from '../../../../src/transports/kafka/topology/topology.ts'

test('heartbeats to Kafka leave nothing at the signal that ends them', async () => {
  let beats = 0
  const cluster = {
    topics: () => Promise.resolve(new Map()),
    askGroup: () => Promise.resolve({ memberEpoch: ++beats, assignment: null }),
  } as unknown as Cluster
  const topology = {
    names: namesOf('mersal'),
    raw: <Result>(question: (one: Cluster) => Promise<Result>) => question(cluster),
  } as Topology
  const membership = new Membership({
    topology,
    settings: kafkaSettings({ bootstrapServers: 'b', sessionTimeoutMs: 500, logger: false }),
    queue: 'q',
    gained: () => {},
    leaving: () => Promise.resolve(),
    lost: () => {},
  })
  const stop = new AbortController()
  const running = membership.run(stop.signal)
  await wait(700)
  expect(beats).toBeGreaterThan(4)
  expect(getEventListeners(stop.signal, 'abort').length).toBeLessThanOrEqual(1)
  stop.abort()
  await running
})
