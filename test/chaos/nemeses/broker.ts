/** Faults of the broker. */
import { setTimeout as sleep } from 'node:timers/promises'
import { connect } from 'amqplib'
import { openTap, plainly } from '../../rabbitmq/outage/tap.ts'
import { now, readHistory } from '../history.ts'
import { CONSUMER, TAP, topics } from '../plan.ts'
import { losing } from './losses.ts'
import { type Nemesis, onPostgres, type PostgresScene, upTo } from './nemesis.ts'

const EXCHANGE = 'mersal.events'

/** A connection that publishes learns of the alarm; this one is not ours. */
async function blocked(url: string): Promise<boolean> {
  const model = await connect(url)
  model.on('error', () => {})
  const heard = new Promise<boolean>((resolve) => model.once('blocked', () => resolve(true)))
  try {
    const channel = await model.createChannel()
    channel.on('error', () => {})
    channel.publish('', 'nowhere', Buffer.from('x'))
    return await Promise.race([heard, sleep(5000, false)])
  } finally {
    await Promise.race([model.close(), sleep(1000)]).catch(() => {})
  }
}

const alarm = onPostgres({
  name: 'alarm',
  says: 'the memory alarm of RabbitMQ: it takes messages and answers nothing',
  touches: 'broker',
  async inject({ place, random }) {
    await place.broker.ctl('set_vm_memory_high_watermark', 'absolute', '1MB')
    const landed = await blocked(place.broker.url)
    await sleep(upTo(random, 2000, 4000))
    await place.broker.ctl('set_vm_memory_high_watermark', '0.4')
    if (!landed) throw new Error('no connection was blocked')
    return 'blocked'
  },
})

/** How the publishes since then were answered. */
function answers({ folder }: PostgresScene, since: number, kind: string): number {
  return readHistory(folder).filter(
    (line) =>
      line.t > since && line.op === 'publish' && line.phase !== 'invoke' && line.kind === kind,
  ).length
}

const nack = onPostgres({
  name: 'nack',
  says: 'a queue with a limit and reject-publish refuses messages',
  touches: 'broker',
  async inject(scene) {
    const { place, random } = scene
    const since = now()
    await place.broker.ctl(
      'set_policy',
      '--apply-to',
      'queues',
      'full',
      `^${TAP}$`,
      '{"max-length":1}',
    )
    await sleep(upTo(random, 1500, 3000))
    await place.broker.ctl('clear_policy', 'full')
    const refused = answers(scene, since, 'refused')
    if (refused === 0) throw new Error('no publish was refused')
    return `${refused} refused`
  },
})

const queueGone = onPostgres({
  name: 'queue-removed',
  says: "an operator deletes the consumer's queue; it has to come back, with its bindings",
  touches: 'broker',
  async inject(scene) {
    const lost = await losing(scene, {
      remove: () => plainly(scene.place.broker.url, (channel) => channel.deleteQueue(CONSUMER)),
      back: (withinMs) => bound(scene, 'the queue', withinMs),
    })
    return `${lost} messages may have been in it`
  },
})

/** The queue of the consumers gets the events that it has to get. */
async function bound({ place }: PostgresScene, what: string, withinMs: number): Promise<void> {
  for (const late = performance.now() + withinMs; performance.now() < late; ) {
    const bindings = await place.broker.ctl(
      'list_bindings',
      'source_name',
      'routing_key',
      'destination_name',
    )
    if (
      bindings
        .split('\n')
        .some((line) => line.split('\t').join(' ') === `${EXCHANGE} ${topics.booked} ${CONSUMER}`)
    )
      return
  }
  throw new Error(`${what} did not come back`)
}

/** Made by whoever publishes next; the binding of the tap is the harness's own business. */
async function exchangeBack(scene: PostgresScene, withinMs: number): Promise<void> {
  const { url } = scene.place.broker
  const there = (): Promise<boolean> =>
    plainly(url, (channel) => channel.checkExchange(EXCHANGE)).then(
      () => true,
      () => false,
    )
  for (const late = performance.now() + withinMs; !(await there()); await sleep(20)) {
    if (performance.now() > late) throw new Error('nobody made the exchange again')
  }
  await openTap(url, TAP, EXCHANGE).bind(Object.values(topics))
  await bound(scene, 'the binding of the consumers', withinMs)
}

const exchangeGone = onPostgres({
  name: 'exchange-removed',
  says: 'an operator deletes the exchange of the events, and with it all bindings; both have to come back',
  touches: 'broker',
  async inject(scene) {
    const { url } = scene.place.broker
    const lost = await losing(scene, {
      remove: () => plainly(url, (channel) => channel.deleteExchange(EXCHANGE)),
      back: (withinMs) => exchangeBack(scene, withinMs),
    })
    return `${lost} messages may have missed the queue`
  },
})

export const brokerFaults: readonly Nemesis[] = [alarm, nack, queueGone, exchangeGone]
