import { type Channel, type ChannelModel, connect, type ConsumeMessage } from 'amqplib'

/**
 * Where published events end up, outside of the app: a queue of our own, made and read by a plain
 * client.
 */
export interface Tap {
  readonly queue: string
  /** Makes queue, exchange and binding; again, after somebody deleted them. */
  bind(topics: readonly string[]): Promise<void>
  /** Takes everything out, in the order of arrival. */
  drain(): Promise<readonly ConsumeMessage[]>
}

export async function plainly<Result>(
  url: string,
  task: (channel: Channel) => Promise<Result>,
): Promise<Result> {
  const model: ChannelModel = await connect(url, { noDelay: true })
  model.on('error', () => {})
  try {
    const channel = await model.createChannel()
    channel.on('error', () => {})
    return await task(channel)
  } finally {
    await model.close()
  }
}

/**
 * Everything in a queue. A message of our own marks its end, since a queue keeps the order of
 * arrival.
 */
export async function drainQueue(url: string, queue: string): Promise<readonly ConsumeMessage[]> {
  const end = `end-${performance.now()}`
  return plainly(url, async (channel) => {
    const messages: ConsumeMessage[] = []
    const { promise: over, resolve } = Promise.withResolvers<void>()
    channel.sendToQueue(queue, Buffer.from(end), { messageId: end, persistent: true })
    const receive = (message: ConsumeMessage | null): void => {
      if (message === null || message.properties.messageId === end) resolve()
      else messages.push(message)
    }
    const { consumerTag } = await channel.consume(queue, receive, { noAck: true })
    await over
    await channel.cancel(consumerTag)
    return messages
  })
}

export function openTap(url: string, queue: string, exchange: string): Tap {
  return {
    queue,
    bind: (topics) =>
      plainly(url, async (channel) => {
        await channel.assertExchange(exchange, 'topic', { durable: true })
        // So that a policy with a length makes it refuse, and never drop, messages.
        await channel.assertQueue(queue, {
          durable: true,
          arguments: { 'x-overflow': 'reject-publish' },
        })
        for (const topic of topics) await channel.bindQueue(queue, exchange, topic)
      }),
    drain: () => drainQueue(url, queue),
  }
}

/** Resolves at the moment from which the broker takes connections of a plain client. */
export async function accepts(url: string): Promise<void> {
  for (;;) {
    try {
      return await plainly(url, () => Promise.resolve())
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
}
