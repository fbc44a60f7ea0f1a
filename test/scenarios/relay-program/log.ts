/**
 * The destination read back by a plain client: everything that was ever published, in the order in
 * which the broker has it.
 */
import { connect, type Message } from 'amqplib'

/** Takes everything out of the queue. Call it when nobody publishes any more. */
export async function readLog(broker: string, queue: string): Promise<readonly Message[]> {
  const model = await connect(broker)
  try {
    const channel = await model.createChannel()
    const arrivals: Message[] = []
    for (;;) {
      const { messageCount } = await channel.checkQueue(queue)
      if (messageCount === 0) return arrivals
      const wanted = arrivals.length + messageCount
      const { promise, resolve, reject } = Promise.withResolvers<void>()
      const onMessage = (message: Message | null): void => {
        if (message === null) return reject(new Error('the log has been deleted'))
        arrivals.push(message)
        if (arrivals.length >= wanted) resolve()
      }
      const { consumerTag } = await channel.consume(queue, onMessage, { noAck: true })
      await promise
      await channel.cancel(consumerTag)
    }
  } finally {
    await model.close()
  }
}
