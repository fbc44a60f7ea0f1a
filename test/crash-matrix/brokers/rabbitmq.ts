import type { Channel, GetMessage } from 'amqplib'
import { rabbitmq } from '../../../src/rabbitmq.ts'
import { openWithPlainClient } from '../../rabbitmq/plainly.ts'
import type { Copy } from '../audit.ts'
import { partOf } from '../databases/database.ts'
import { NOWHERE, topics } from '../plan.ts'
import type { CellBroker, MessagesLeft, Names } from './broker.ts'

const tapOf = ({ queue }: Names): string => `${queue}.tap`
const nowhereOf = ({ queue }: Names): string => `${queue}.${NOWHERE}`
/** The shortest waiting time that there is. */
const retryOf = ({ queue }: Names): string => `${queue}.retry.100`

/** A RabbitMQ of its own. */
export async function openRabbitCells(): Promise<CellBroker> {
  const stack = new AsyncDisposableStack()
  const { server, plainly } = await openWithPlainClient(stack)
  return {
    url: server.url,
    versions: { RabbitMQ: (await server.ctl('version')).trim() },
    async prepare(names) {
      await plainly((channel) => bindTap(channel, names))
      await using transport = rabbitmq({
        url: server.url,
        eventsExchange: names.exchange,
        newQueuePauseMs: 0,
        logger: false,
      })
      await transport.subscribe(names.queue, [topics.registered])
    },
    async putRight(names) {
      await plainly((channel) => channel.assertQueue(nowhereOf(names), { durable: true }))
    },
    letters: (names) => plainly((channel) => letters(channel, names)),
    waiting: (names) =>
      plainly(async (channel) => {
        const queue = await channel.checkQueue(names.queue)
        const retry = await channel.checkQueue(retryOf(names))
        return queue.messageCount + retry.messageCount
      }),
    left: (names) => plainly((channel) => left(channel, names)),
    drop: (names) => plainly((channel) => drop(channel, names)),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}

/** The queue that nobody of Mersal reads, bound to everything. */
async function bindTap(channel: Channel, names: Names): Promise<void> {
  await channel.assertExchange(names.exchange, 'topic', { durable: true })
  await channel.assertQueue(tapOf(names), { durable: true })
  for (const topic of [topics.registered, topics.billed])
    await channel.bindQueue(tapOf(names), names.exchange, topic)
}

async function letters(channel: Channel, { queue }: Names): Promise<number> {
  const ids = new Set<unknown>()
  for (;;) {
    const message = await channel.get(`${queue}.dead`)
    if (message === false) break
    ids.add(message.properties.messageId)
  }
  // By hand, so that it does not depend on when the broker does it for a channel that is closed.
  channel.nackAll(true)
  await channel.checkQueue(`${queue}.dead`)
  return ids.size
}

async function left(channel: Channel, names: Names): Promise<MessagesLeft> {
  const tap = await everything(channel, tapOf(names))
  const dead = await everything(channel, `${names.queue}.dead`)
  await channel.assertQueue(nowhereOf(names), { durable: true })
  const nowhere = await everything(channel, nowhereOf(names))
  const rest = [
    ...(await everything(channel, names.queue)),
    ...(await everything(channel, retryOf(names))),
  ]
  return {
    tap: tap.map(
      (message): Copy => ({
        id: String(message.properties.messageId),
        topic: message.fields.routingKey,
        ...partOf(message.content),
      }),
    ),
    nowhere: nowhere.map(({ content }) => partOf(content)),
    deadIncoming: dead.map(({ content }) => partOf(content)),
    left: rest.map(
      ({ properties, fields }) => `message ${properties.messageId} in ${fields.routingKey}`,
    ),
  }
}

/** Nobody else reads it by now, so that an empty answer is the end. */
async function everything(channel: Channel, queue: string): Promise<GetMessage[]> {
  const found: GetMessage[] = []
  for (;;) {
    const message = await channel.get(queue, { noAck: true })
    if (message === false) return found
    found.push(message)
  }
}

async function drop(channel: Channel, names: Names): Promise<void> {
  for (const queue of [
    tapOf(names),
    names.queue,
    `${names.queue}.dead`,
    retryOf(names),
    nowhereOf(names),
  ])
    await channel.deleteQueue(queue)
  await channel.deleteExchange(names.exchange)
}
