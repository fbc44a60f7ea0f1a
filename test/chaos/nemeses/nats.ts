/** Faults of NATS. */
import { setTimeout as sleep } from 'node:timers/promises'
import { now, readHistory } from '../history.ts'
import { streams, subscriptionOf } from '../places/nats.ts'
import { CONSUMER, topics } from '../plan.ts'
import { losing } from './losses.ts'
import { type NatsScene, type Nemesis, onNats, upTo } from './nemesis.ts'

const PATIENCE_MS = 30_000

const restart = onNats({
  name: 'broker-restart',
  says: 'NATS is stopped in good order and started again',
  touches: 'broker',
  async inject({ place, random }) {
    await place.nats.server.stop()
    await sleep(upTo(random, 0, 1500))
    await place.nats.server.start()
    return 'restarted'
  },
})

const crash = onNats({
  name: 'broker-crash',
  says: 'SIGKILL to NATS',
  touches: 'broker',
  async inject({ place, random }) {
    await place.nats.server.signal('SIGKILL')
    await sleep(upTo(random, 0, 1500))
    await place.nats.server.start()
    return 'killed'
  },
})

const pause = onNats({
  name: 'broker-pause',
  says: 'NATS stands still (SIGSTOP) for longer than a confirm may take, at times for longer than a hold, and goes on',
  touches: 'broker',
  async inject({ place, random }) {
    const ms = upTo(random, 2500, 6500)
    await place.nats.server.signal('SIGSTOP')
    await sleep(ms)
    await place.nats.server.signal('SIGCONT')
    return `${Math.round(ms)} ms`
  },
})

const away = onNats({
  name: 'broker-away',
  says: 'NATS is killed and stays away for seconds',
  touches: 'broker',
  async inject({ place, random }) {
    const ms = upTo(random, 3000, 8000)
    await place.nats.server.signal('SIGKILL')
    await sleep(ms)
    await place.nats.server.start()
    return `${Math.round(ms)} ms`
  },
})

/** How many publishes since then were answered otherwise than with a confirm. */
function unconfirmed({ folder }: NatsScene, since: number): number {
  return readHistory(folder).filter(
    (line) =>
      line.t > since &&
      line.op === 'publish' &&
      line.phase !== 'invoke' &&
      line.kind !== 'confirmed',
  ).length
}

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
    const refused = unconfirmed(scene, since)
    if (refused === 0) throw new Error('every publish was confirmed')
    return `${refused} not confirmed`
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

async function comesBack(scene: NatsScene, what: string, withinMs = PATIENCE_MS): Promise<void> {
  const late = performance.now() + withinMs
  // A server that is busy may not answer: that is no reason to call it gone, or there.
  while (!(await isThere(scene).catch(() => false))) {
    if (performance.now() > late) throw new Error(`${what} did not come back`)
    await sleep(100)
  }
}

const queueGone = onNats({
  name: 'queue-removed',
  says: 'an operator deletes the stream of a queue; it has to come back, with its consumer',
  touches: 'broker',
  async inject(scene) {
    const lost = await losing(scene, {
      remove: () =>
        scene.place.nats.plainly(({ manager }) => manager.streams.delete(streams.consumer)),
      back: (withinMs) => comesBack(scene, 'the queue', withinMs),
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
      back: (withinMs) => comesBack(scene, 'the subscription', withinMs),
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
    await comesBack(scene, 'the consumer')
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
  restart,
  crash,
  pause,
  away,
  full,
  queueGone,
  subscriptionGone,
  consumerGone,
  stateGone,
]
