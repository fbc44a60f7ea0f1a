import type { Channel, ChannelModel } from 'amqplib'
import { answered, closeQuietly } from '../connection/client.ts'

/** One process among those that read a queue in order. */
export interface Membership {
  readonly open: boolean
  /** How many there are, this one included. */
  members(): Promise<number>
  /** Consumers of a queue, in whatever process. */
  consumersOf(queue: string): Promise<number>
  leave(): Promise<void>
}

/** Every process consumes a queue that stays empty, and the broker counts its consumers. */
export async function join(
  model: ChannelModel,
  membersQueue: string,
  timeoutMs: number,
): Promise<Membership> {
  const channel: Channel = await answered(timeoutMs, model.createChannel())
  let open = true
  // The failed call carries the same error.
  channel.on('error', () => {})
  channel.on('close', () => {
    open = false
  })
  const consumersOf = async (queue: string): Promise<number> =>
    (await answered(timeoutMs, channel.checkQueue(queue))).consumerCount
  const receive = (message: unknown): void => void (message ?? closeQuietly(channel))
  try {
    await answered(timeoutMs, channel.consume(membersQueue, receive, { noAck: true }))
  } catch (error) {
    // It may become a member yet, and would take a share that nobody reads.
    void closeQuietly(channel)
    throw error
  }
  return {
    get open() {
      return open
    },
    members: async () => Math.max(1, await consumersOf(membersQueue)),
    consumersOf,
    leave: () => closeQuietly(channel),
  }
}
