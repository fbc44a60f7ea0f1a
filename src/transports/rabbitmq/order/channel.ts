import type { Channel, ChannelModel, ConsumeMessage } from 'amqplib'
import { MersalError } from '../../../core/errors/errors.ts'
import { systemClock } from '../../../lib/async/clock.ts'
import type { Describe } from '../connection/address.ts'
import { answered, closeQuietly } from '../connection/client.ts'
import { createAnswers } from '../consume/answers.ts'
import type { Answer } from '../consume/settle.ts'

/**
 * A channel whose deliveries are acknowledged or stay where they are: none is given back by itself,
 * since only what goes back together keeps its order.
 */
export interface OrderedChannel {
  readonly channel: Channel
  /** Aborts when it is closed, by whomever. */
  readonly lost: AbortSignal
  /**
   * Notes a delivery, at the moment when it comes: an answer to a later one covers those that are
   * not noted. What it returns answers it, once; `requeue` leaves it where it is.
   */
  take(message: ConsumeMessage): (how: Answer) => void
  /** How long the oldest delivery has been without an answer, in milliseconds. */
  heldMs(): number
  /**
   * Resolves when the broker has read every answer. Rejects, and closes the channel, if it does not
   * say so.
   */
  assured(queue: string): Promise<void>
  /** What has no answer goes back to its queue, in order. */
  close(): Promise<void>
}

export interface ChannelPorts {
  readonly timeoutMs: number
  readonly describe: Describe
}

export async function openChannel(
  model: ChannelModel,
  what: string,
  { timeoutMs, describe }: ChannelPorts,
): Promise<OrderedChannel> {
  const channel = await answered(timeoutMs, model.createChannel())
  const lost = new AbortController()
  let problem: unknown
  channel.on('error', (error) => {
    problem = error
  })
  channel.on('close', () => {
    const text = problem === undefined ? 'the channel was closed' : describe(problem)
    lost.abort(new MersalError('MERSAL_UNAVAILABLE', `${what}: ${text}`))
  })
  const answers = createAnswers(channel, lost.signal)
  const since = new Map<ConsumeMessage, number>()
  return {
    channel,
    lost: lost.signal,
    take(message) {
      const answer = answers.to(message)
      since.set(message, systemClock.monotonic())
      return (how) => {
        if (how === 'requeue') return
        since.delete(message)
        answer(how)
      }
    },
    heldMs() {
      const [oldest] = since.values()
      return oldest === undefined ? 0 : systemClock.monotonic() - oldest
    },
    async assured(queue) {
      answers.flush()
      try {
        await answered(timeoutMs, channel.checkQueue(queue))
      } catch (error) {
        await closeQuietly(channel)
        throw error
      }
    },
    async close() {
      answers.flush()
      await answered(timeoutMs, closeQuietly(channel))
    },
  }
}
