/**
 * The destination read back: everything that was ever published, in the order in which the broker
 * has it.
 */
import { connect } from 'amqplib'
import { headers } from './plan.ts'

export interface Arrival {
  readonly id: string
  readonly relay: string
  /** Wall clock of the machine when the relay handed it to its transport. */
  readonly at: number
  readonly token: string
  readonly position: bigint
}

/** Takes everything out of the queue. Call it when nobody publishes any more. */
export async function readLog(broker: string, queue: string): Promise<readonly Arrival[]> {
  const model = await connect(broker)
  try {
    const channel = await model.createChannel()
    const { messageCount } = await channel.checkQueue(queue)
    const arrivals: Arrival[] = []
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    if (messageCount === 0) return arrivals
    await channel.consume(
      queue,
      (message) => {
        if (message === null) return reject(new Error('the log has been deleted'))
        const table = message.properties.headers ?? {}
        arrivals.push({
          id: String(message.properties.messageId),
          relay: String(table[headers.relay]),
          at: Number(table[headers.at]),
          token: String(table[headers.token]),
          position: BigInt(String(table[headers.position])),
        })
        if (arrivals.length === messageCount) resolve()
      },
      { noAck: true },
    )
    await promise
    return arrivals
  } finally {
    await model.close()
  }
}
