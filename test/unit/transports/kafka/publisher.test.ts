import { expect, test } from 'vitest'
import type { OutgoingMessage } from '../../../../src/core/messages/message.ts'
import { kafkaSettings } from '../../../../src/transports/kafka/options.ts'
import type { KafkaLink } from '../../../../src/transports/kafka/connection/cluster.ts'
import type { TopicInfo } from '../../../../src/transports/kafka/connection/topic-info.ts'
import { partitionOf, Producer } from '../../../../src/transports/kafka/publish/producer.ts'
import { Publisher } from '../../../../src/transports/kafka/publish/publisher.ts'
import { namesOf } from '../../../../src/transports/kafka/topology/names.ts'
import type { Topology } from '../../../../src/transports/kafka/topology/topology.ts'
import { confirmed, unavailable } from '../../../../src/transports/shared/outcomes.ts'
import type { OwnQueues } from '../../../../src/transports/shared/own-queues.ts'

const PARTITIONS = 4
const settings = kafkaSettings({ bootstrapServers: 'localhost:9092', logger: false })

/** A broker that knows of each partition who leads it; without a leader it takes nothing. */
function broker() {
  const leaders = Array.from({ length: PARTITIONS }, () => 1)
  const state = { leaders, looks: 0, taken: [] as number[] }
  const known = new Map<string, TopicInfo>()
  const cluster = {
    topics([name]: readonly [string]) {
      if (!known.has(name)) {
        state.looks++
        const partitions = leaders.map((leader) => ({ leader, copies: 3 }))
        known.set(name, { id: 'its id', partitions })
      }
      return Promise.resolve(known)
    },
    forget: (name: string) => known.delete(name),
  }
  const topology = {
    names: namesOf('mersal'),
    ask: (_: string, work: (it: typeof cluster) => unknown) => work(cluster),
  }
  const link = { down: undefined } as unknown as KafkaLink
  const real = new Producer(link, settings, String)
  const lanes = leaders.map((_, partition) => ({
    add(_parcel: object, _gate: object, settle: (answer: object) => void) {
      state.taken.push(partition)
      settle((leaders[partition] as number) < 0 ? unavailable('no leader') : confirmed)
      return () => false
    },
  }))
  const producer = {
    turns: real.turns.bind(real),
    lane: (_: string, partition: number) => lanes[partition],
  }
  const publisher = new Publisher(
    link,
    producer as unknown as Producer,
    topology as unknown as Topology,
    {} as OwnQueues,
    settings,
  )
  return { state, publisher }
}

const message = (id: number, partitionKey?: string): OutgoingMessage => ({
  id: String(id),
  type: 't',
  headers: {},
  body: new Uint8Array(),
  to: { transport: 'default', kind: 'queue', name: 'q' },
  ...(partitionKey === undefined ? {} : { partitionKey }),
})

const many = Array.from({ length: 200 }, (_, id) => message(id))

test('P8: messages without a key pass by a partition without a leader, until it has one', async () => {
  const { state, publisher } = broker()
  const kinds = async (): Promise<string[]> => {
    state.taken.length = 0
    state.looks = 0
    const outcomes = await Promise.all(publisher.publish(many))
    return [...new Set(outcomes.map(({ kind }) => kind))]
  }
  state.leaders[1] = -1
  expect(await kinds()).toEqual(['confirmed'])
  expect(new Set(state.taken)).toEqual(new Set([0, 2, 3]))
  expect(state.looks).toBe(1)
  state.leaders[1] = 2
  expect(await kinds()).toEqual(['confirmed'])
  expect(new Set(state.taken)).toEqual(new Set([0, 1, 2, 3]))
  expect(state.looks).toBe(1)
  expect(await kinds()).toEqual(['confirmed'])
  expect(state.looks).toBe(0)
})

test('P5: a key keeps its partition, also without a leader', async () => {
  const { state, publisher } = broker()
  const key = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j'].find(
    (one) => partitionOf(Buffer.from(one), PARTITIONS) === 1,
  )
  state.leaders[1] = -1
  const [outcome] = await Promise.all(publisher.publish([message(1, key)]))
  expect([outcome?.kind, state.taken]).toEqual(['unavailable', [1]])
})

test('a topic without any leader: the outcome says so', async () => {
  const { state, publisher } = broker()
  state.leaders.fill(-1)
  const [outcome] = await Promise.all(publisher.publish([message(1)]))
  expect(outcome).toMatchObject({ kind: 'unavailable', error: { message: 'no leader' } })
})
