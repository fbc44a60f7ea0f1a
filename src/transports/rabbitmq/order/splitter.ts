import type { ChannelModel, ConsumeMessage } from 'amqplib'
import { errorFields } from '../../../core/errors/error-text.ts'
import { linkAbort } from '../../../lib/async/linked-abort.ts'
import { inHand } from '../../shared/deliver.ts'
import { keyLanes } from '../../shared/order/key-lanes.ts'
import { arrivalOf, passing } from '../connection/known.ts'
import { membersOf } from '../connection/opened.ts'
import { closeQuietly } from '../connection/client.ts'
import type { CopyTo, Mover } from '../consume/mover.ts'
import type { Answer, Hold } from '../consume/settle.ts'
import { type HeaderTable, headerTable, ownHeaders } from '../publish/envelope.ts'
import { type OrderedChannel, openChannel } from './channel.ts'
import type { LayoutPorts } from './layout.ts'
import { keyOf, partitionFor, partitionQueueOf } from './names.ts'

export interface SplitterPorts extends LayoutPorts {
  readonly mover: Mover
}

/** Moves the messages of a queue into its partitions. One process does it at a time. */
export interface Splitter {
  /** Aborts when it moves no more. */
  readonly lost: AbortSignal
  heldMs(): number
  stop(): Promise<void>
}

/** Messages that are on their way into the partitions, at most. */
const AHEAD = 500

/**
 * Of one key one message is on its way at a time, so that a copy which must be written twice passes
 * nobody. A crash, or a process that stood still, may write copies again: of two splitters each
 * writes in order, beginning with the first message that was not acknowledged, so the first copies
 * are in order.
 */
export async function openSplitter(
  ports: SplitterPorts,
  model: ChannelModel,
  queue: string,
): Promise<Splitter> {
  const { settings, describe } = ports
  const about = { timeoutMs: settings.connectTimeoutMs, describe }
  const channel = await openChannel(model, `queue '${queue}'`, about)
  const stopping = new AbortController()
  const running = inHand()
  const moveOne = mover(ports, { queue, channel, stopping: stopping.signal })
  const split = async (message: ConsumeMessage): Promise<void> => {
    const answer = channel.take(message)
    const parts = membersOf(message, ownIn(message)) ?? [message]
    const answers = await Promise.all(parts.map(moveOne))
    if (answers.includes('pass-on')) answer('pass-on')
    else if (!answers.includes('requeue')) answer('ack')
  }
  try {
    await channel.channel.prefetch(AHEAD)
    await channel.channel.consume(queue, (message) => {
      if (message === null) void closeQuietly(channel.channel)
      else running.add(split(message))
    })
  } catch (error) {
    await closeQuietly(channel.channel)
    throw error
  }
  return {
    lost: channel.lost,
    heldMs: () => channel.heldMs(),
    async stop() {
      stopping.abort()
      await running.settled()
      try {
        await channel.close()
      } catch (error) {
        settings.logger.debug(errorFields(error), 'the channel of a queue was not closed in time')
      }
    },
  }
}

/** What this transport has written about the message, which goes with it. */
function ownIn(message: ConsumeMessage): HeaderTable {
  const all = Object.entries(headerTable(message))
  return Object.fromEntries(all.filter(([name]) => name.startsWith('x-mersal-')))
}

function mayBeThere({ fields }: ConsumeMessage): HeaderTable {
  return fields.redelivered ? { [ownHeaders.again]: '1' } : {}
}

interface Place {
  readonly queue: string
  readonly channel: OrderedChannel
  readonly stopping: AbortSignal
}

/** What is to be answered for a message: it is in its partition, can never be, or stays. */
function mover(
  { mover: moves, settings }: SplitterPorts,
  { queue, channel, stopping }: Place,
): (message: ConsumeMessage) => Promise<Answer> {
  const lanes = keyLanes()
  const { lost } = channel
  const givingUp = linkAbort(lost)
  givingUp.follow(() => givingUp[Symbol.dispose]())
  const moveNow = async (message: ConsumeMessage): Promise<Answer> => {
    if (stopping.aborted || lost.aborted) return 'requeue'
    const arrival = arrivalOf(queue, message)
    const answer = (): void => {}
    const known = passing(arrival)
    const hold: Hold = { queue, message, arrival, known, answer, lost, givingUp, stopping }
    const step: CopyTo = {
      target: partitionQueueOf(queue, partitionFor(message, settings.partitions)),
      headers: { ...ownIn(message), ...mayBeThere(message) },
      dead: false,
    }
    const plan = { next: () => step, aside: () => step, noRoom: () => ({ ...step, dead: true }) }
    const { kind } = await moves.move(hold, plan)
    return kind === 'moved' ? 'ack' : kind === 'impossible' ? 'pass-on' : 'requeue'
  }
  return (message) => {
    let answer: Answer = 'requeue'
    const work = async (): Promise<void> => {
      answer = await moveNow(message)
    }
    return lanes.run(keyOf(message), work).then(() => answer)
  }
}
