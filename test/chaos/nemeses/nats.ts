/** Faults of NATS. */
import { setTimeout as sleep } from 'node:timers/promises'
import { now } from '../history.ts'
import { streams, subscriptionOf } from '../places/nats.ts'
import { CONSUMER, topics } from '../plan.ts'
import { comesBack, losing, refusedSince } from './losses.ts'
import { type NatsScene, type Nemesis, onNats, upTo } from './nemesis.ts'

const full = onNats({
  name: 'stream-full',
  says: 'a stream that is full takes no message for seconds',
  touches: 'broker',
  async inject(scene) {
    const { place, random } = scene
    const since = now()
    const limit = (max_bytes: number): Promise<unknown> =>
      place.nats.plainly(({ manager }) => manager.streams.update(streams.tap, { max_bytes }))
    const { bytes } = await place.nats.plainly(
      async ({ manager }) => (await manager.streams.info(streams.tap)).state,
    )
    await limit(Math.max(1, bytes))
    await sleep(upTo(random, 1500, 4000))
    await limit(-1)
    return refusedSince(scene, since)
  },
})

/** The stream has its consumer and its subscription. Busy readers ask for nothing. */
async function isThere({ place }: NatsScene): Promise<boolean> {
  return place.nats.plainly(async ({ manager }) => {
    const consumer = await manager.consumers.info(streams.consumer, 'mersal').catch(() => undefined)
    const bound = await manager.streams
      .getMessage(streams.topics, { last_by_subj: subscriptionOf(topics.booked, CONSUMER) })
      .catch(() => null)
    return consumer !== undefined && bound !== null
  })
}

const queueGone = onNats({
  name: 'queue-removed',
  says: 'an operator deletes the stream of a queue; it has to come back, with its consumer',
  touches: 'broker',
  async inject(scene) {
    const lost = await losing(scene, {
      remove: () =>
        scene.place.nats.plainly(({ manager }) => manager.streams.delete(streams.consumer)),
      back: (withinMs) => comesBack(() => isThere(scene), 'the queue', withinMs),
    })
    return `${lost} messages may have been in it`
  },
})

const subscriptionGone = onNats({
  name: 'subscription-removed',
  says: 'an operator deletes the subscriptions of a queue; its living consumers have to bring them back',
  touches: 'broker',
  async inject(scene) {
    const filter = subscriptionOf('*', CONSUMER)
    const lost = await losing(scene, {
      remove: () =>
        scene.place.nats.plainly(({ manager }) =>
          manager.streams.purge(streams.topics, { filter }),
        ),
      back: (withinMs) => comesBack(() => isThere(scene), 'the subscription', withinMs),
    })
    return `${lost} messages may have missed the queue`
  },
})

const consumerGone = onNats({
  name: 'consumer-removed',
  says: 'an operator deletes the consumer of a queue: everything in the queue comes again',
  touches: 'broker',
  async inject(scene) {
    await scene.place.nats.plainly(({ manager }) =>
      manager.consumers.delete(streams.consumer, 'mersal'),
    )
    await comesBack(() => isThere(scene), 'the consumer')
    return 'came back'
  },
})

const stateGone = onNats({
  name: 'state-removed',
  says: 'an operator deletes the stream of the noted attempts',
  touches: 'broker',
  async inject({ place }) {
    await place.nats.plainly(({ manager }) => manager.streams.delete(streams.state))
    return 'deleted'
  },
})

export const natsFaults: readonly Nemesis[] = [
  full,
  queueGone,
  subscriptionGone,
  consumerGone,
  stateGone,
]
