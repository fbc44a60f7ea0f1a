import { getEventListeners } from 'node:events'
import { setTimeout as wait } from 'node:timers/promises'
import { expect, test } from 'vitest'
import type { Cluster } from '../../../../src/transports/kafka/connection/cluster.ts'
import { Membership } from '../../../../src/transports/kafka/consume/membership.ts'
import { kafkaSettings } from '../../../../src/transports/kafka/options.ts'
import { namesOf } from '../../../../src/transports/kafka/topology/names.ts'
import type { Topology } from '../../../../src/transports/kafka/topology/topology.ts'

/** A member of a group whose coordinator is asked by `askGroup`, six times in a session. */
function member(
  askGroup: () => Promise<unknown>,
  sessionTimeoutMs: number,
  answered: (failure?: unknown) => void = () => {},
) {
  const cluster = { topics: () => Promise.resolve(new Map()), askGroup } as unknown as Cluster
  const topology = {
    names: namesOf('mersal'),
    raw: <Result>(question: (one: Cluster) => Promise<Result>) => question(cluster),
  } as Topology
  const settings = kafkaSettings({ bootstrapServers: 'b', sessionTimeoutMs: 500, logger: false })
  const lost: Error[] = []
  const membership = new Membership({
    topology,
    settings: { ...settings, sessionTimeoutMs },
    queue: 'q',
    gained: () => {},
    leaving: () => Promise.resolve(),
    lost: (reason) => void lost.push(reason),
    answered,
  })
  return { membership, lost }
}

test('heartbeats to Kafka leave nothing at the signal that ends them', async () => {
  let beats = 0
  const askGroup = () => Promise.resolve({ memberEpoch: ++beats, assignment: null })
  const { membership } = member(askGroup, 500)
  const stop = new AbortController()
  const running = membership.run(stop.signal)
  await wait(700)
  expect(beats).toBeGreaterThan(4)
  expect(getEventListeners(stop.signal, 'abort').length).toBeLessThanOrEqual(1)
  stop.abort()
  await running
})

test('a member without partitions tells when its coordinator is silent for a session, and when it answers again', async () => {
  let silent = false
  let told = Promise.withResolvers<unknown>()
  const askGroup = (): Promise<unknown> =>
    silent
      ? Promise.reject(new Error('no coordinator'))
      : Promise.resolve({ memberEpoch: 1, assignment: null })
  const { membership, lost } = member(askGroup, 30, (failure) => told.resolve(failure))
  const next = async (): Promise<unknown> => {
    told = Promise.withResolvers()
    return await told.promise
  }
  await membership.join()
  const stop = new AbortController()
  const running = membership.run(stop.signal)
  expect(await next()).toBeUndefined()
  silent = true
  let found: unknown
  while (found === undefined) found = await next()
  expect(found).toMatchObject({ message: 'no coordinator' })
  silent = false
  while (found !== undefined) found = await next()
  stop.abort()
  await running
  expect(lost).toEqual([])
})
