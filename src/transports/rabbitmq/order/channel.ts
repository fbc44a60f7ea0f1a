import type { ChannelModel, ConsumeMessage } from 'amqplib'
import { errorFields } from '../../../core/errors/error-text.ts'
import { MersalError } from '../../../core/errors/errors.ts'
import { systemClock } from '../../../lib/async/clock.ts'
import type { Describe } from '../../shared/describe.ts'
import { answered, closeQuietly } from '../connection/client.ts'
import { type Answers, createAnswers } from '../consume/answers.ts'
import type { Answer } from '../consume/settle.ts'
import type { RabbitSettings } from '../options.ts'
import { type InHand, inHand } from '../../shared/deliver.ts'
import type { Arrived } from './entry.ts'

/**
 * A channel whose deliveries are acknowledged or stay where they are: none is given back by itself,
 * since only what goes back together keeps its order.
 */
export interface OrderedChannel {
  /** Aborts when it is closed, by whomever. */
  readonly lost: AbortSignal
  /** RabbitMQ has ended it: a queue that it reads was deleted. */
  readonly cancelled: boolean
  /**
   * Reads a queue, at most `ahead` messages without an answer at a time (0: all). Each is answered
   * once; `requeue` leaves it where it is.
   */
  consume(queue: string, ahead: number, onDelivery: (arrived: Arrived) => void): Promise<void>
  /** How long the oldest delivery has been without an answer, in milliseconds. */
  heldMs(): number
  /**
   * Resolves when the broker has read every answer. Rejects, and closes the channel, if it does not
   * say so.
   */
  assured(queue: string): Promise<void>
  /** As lost from now on: the broker does not do on it what it should. */
  giveUp(why: string): void
  /** What has no answer goes back to its queue, in order. */
  close(): Promise<void>
}

export interface ChannelPorts {
  readonly settings: Pick<RabbitSettings, 'connectTimeoutMs' | 'logger'>
  readonly describe: Describe
  /** Aborts when nothing more is begun anywhere. */
  readonly stopping: AbortSignal
}

/** What this process reads in order: a queue, or a partition of it. */
export interface Reader {
  /** Aborts when it reads no more. */
  readonly lost: AbortSignal
  /** Its queue was deleted. */
  readonly cancelled: boolean
  /** How long the oldest message has been without an answer, in milliseconds. */
  heldMs(): number
  /** Begins nothing more, waits for what has been begun, and gives the rest back in order. */
  stop(): Promise<void>
}

/** What a reader works with. */
export interface Reading {
  readonly channel: OrderedChannel
  /** Aborts when nothing more is begun. */
  readonly stopping: AbortSignal
  /** For the work that `stop` waits for. */
  readonly running: InHand
}

/** Reads on a channel of its own, as soon as `begin` has resolved. */
export async function openReader(
  ports: ChannelPorts,
  model: ChannelModel,
  queue: string,
  begin: (reading: Reading) => Promise<void>,
): Promise<Reader> {
  const channel = await openChannel(ports, model, `queue '${queue}'`)
  const leaving = new AbortController()
  const stopping = AbortSignal.any([ports.stopping, leaving.signal])
  const running = inHand()
  const close = async (): Promise<void> => {
    leaving.abort()
    try {
      await channel.close()
    } catch (error) {
      ports.settings.logger.debug(
        { queue, ...errorFields(error) },
        'the channel of a queue that is read in order was not closed in time',
      )
    }
  }
  try {
    await begin({ channel, stopping, running })
  } catch (error) {
    await close()
    await running.settled()
    throw error
  }
  return {
    lost: channel.lost,
    get cancelled() {
      return channel.cancelled
    },
    heldMs: () => channel.heldMs(),
    async stop() {
      leaving.abort()
      await running.settled()
      await close()
    },
  }
}

async function openChannel(
  { settings: { connectTimeoutMs: timeoutMs }, describe }: ChannelPorts,
  model: ChannelModel,
  what: string,
): Promise<OrderedChannel> {
  const channel = await answered(timeoutMs, model.createChannel())
  const lost = new AbortController()
  let problem: unknown
  let cancelled = false
  channel.on('error', (error) => {
    problem = error
  })
  channel.on('close', () => {
    const text = problem === undefined ? 'the channel was closed' : describe(problem)
    lost.abort(new MersalError('MERSAL_UNAVAILABLE', `${what}: ${text}`))
  })
  const answers = createAnswers(channel, lost.signal)
  const notes = createNotes(answers)
  return {
    lost: lost.signal,
    get cancelled() {
      return cancelled
    },
    async consume(queue, ahead, onDelivery) {
      const receive = (message: ConsumeMessage | null): void => {
        if (message !== null) return onDelivery(notes.arrived(message))
        cancelled = true
        void closeQuietly(channel)
      }
      await answered(timeoutMs, channel.prefetch(ahead))
      await answered(timeoutMs, channel.consume(queue, receive))
    },
    heldMs: () => notes.heldMs(),
    async assured(queue) {
      answers.flush()
      try {
        await answered(timeoutMs, channel.checkQueue(queue))
      } catch (error) {
        await closeQuietly(channel)
        throw error
      }
    },
    giveUp(why) {
      answers.flush()
      lost.abort(new MersalError('MERSAL_UNAVAILABLE', `${what}: ${why}`))
      void closeQuietly(channel)
    },
    async close() {
      answers.flush()
      await answered(timeoutMs, closeQuietly(channel))
    },
  }
}

interface Notes extends Pick<OrderedChannel, 'heldMs'> {
  /** At the moment when it comes: an answer to a later one covers those that are not noted. */
  arrived(message: ConsumeMessage): Arrived
}

/** Since when each delivery has been without an answer. Keeps no more of it than its number. */
function createNotes(answers: Answers): Notes {
  const since = new Map<number, number>()
  return {
    arrived(message) {
      const { deliveryTag } = message.fields
      const answer = answers.to(message)
      since.set(deliveryTag, systemClock.monotonic())
      return {
        message,
        answer(how: Answer) {
          if (how === 'requeue') return
          since.delete(deliveryTag)
          answer(how)
        },
      }
    },
    heldMs() {
      const [oldest] = since.values()
      return oldest === undefined ? 0 : systemClock.monotonic() - oldest
    },
  }
}
