/** Faults of Kafka. */
import { setTimeout as sleep } from 'node:timers/promises'
import { logs } from '../places/kafka.ts'
import { CONSUMER, HOLD_MS, PARTITIONS, topics } from '../plan.ts'
import { loadSource } from '../source.ts'
import { comesBack, losing } from './losses.ts'
import { type KafkaScene, type Nemesis, onKafka, upTo } from './nemesis.ts'

const subscription = JSON.stringify([topics.booked, CONSUMER])

/** The topic has its subscription. */
async function isThere({ place: { kafka } }: KafkaScene): Promise<boolean> {
  return kafka.plainly(async (client) => {
    const names = await client.admin.listTopics()
    if (!names.includes(logs.consumer)) return false
    const all = await client.all(logs.subscriptions)
    return (all.findLast(({ key }) => key === subscription)?.body ?? null) !== null
  })
}

const topicGone = onKafka({
  name: 'queue-removed',
  says: 'an operator deletes the topic of a queue; its living consumers have to make it again',
  touches: 'broker',
  async inject(scene) {
    const lost = await losing(scene, {
      remove: () =>
        scene.place.kafka.plainly(({ admin }) => admin.deleteTopics({ topics: [logs.consumer] })),
      back: (withinMs) => comesBack(() => isThere(scene), 'the topic', withinMs),
    })
    return `${lost} messages may have been in it`
  },
})

const subscriptionGone = onKafka({
  name: 'subscription-removed',
  says: 'an operator takes a subscription back; the living consumers of its queue have to bring it back',
  touches: 'broker',
  async inject(scene) {
    const lost = await losing(scene, {
      remove: () =>
        scene.place.kafka.plainly((client) =>
          client.write(logs.subscriptions, { key: subscription, headers: {}, body: null }),
        ),
      back: (withinMs) => comesBack(() => isThere(scene), 'the subscription', withinMs),
    })
    return `${lost} messages may have missed the queue`
  },
})

const recordsGone = onKafka({
  name: 'records-removed',
  says: 'an operator deletes every message of a topic; consumers go on with what comes then',
  touches: 'broker',
  async inject(scene) {
    const numbers = Array.from({ length: PARTITIONS }, (_, partition) => partition)
    const remove = (): Promise<unknown> =>
      scene.place.kafka.plainly(({ admin }) =>
        admin.deleteRecords({
          topics: [
            {
              name: logs.consumer,
              partitions: numbers.map((partition) => ({ partition, offset: -1n })),
            },
          ],
        }),
      )
    const lost = await losing(scene, { remove, back: () => Promise.resolve() })
    return `${lost} messages may have been in it`
  },
})

const storm = onKafka({
  name: 'rebalance-storm',
  says: 'consumers that handle nothing come and go, so that partitions move without a rest',
  touches: 'broker',
  async inject({ place, builds, random }) {
    const { kafka } = await loadSource(builds.present.source)
    let held = 0
    const visits = 6
    for (let visit = 0; visit < visits; visit += 1) {
      await using transport = kafka.kafka({
        url: place.address.kind === 'kafka' ? place.address.broker : '',
        partitions: PARTITIONS,
        sessionTimeoutMs: HOLD_MS,
        logger: false,
      })
      await using _consumer = await transport.consume({ queue: CONSUMER, concurrency: 1 }, () => {
        held += 1
        return Promise.resolve({ kind: 'release' })
      })
      await sleep(upTo(random, 200, 1000))
    }
    return `${visits} consumers, ${held} messages given back`
  },
})

export const kafkaFaults: readonly Nemesis[] = [topicGone, subscriptionGone, recordsGone, storm]
