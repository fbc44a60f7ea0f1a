import type { ChannelModel, ConsumeMessage } from 'amqplib'
import { errorFields } from '../../../core/errors/error-text.ts'
import { linkAbort } from '../../../lib/async/linked-abort.ts'
import type { OnDelivery } from '../../shared/deliver.ts'
import { closeQuietly } from '../connection/client.ts'
import type { Slots } from '../connection/slots.ts'
import type { Mover } from '../consume/mover.ts'
import type { Settler } from '../consume/settle.ts'
import type { Publisher } from '../publish/publisher.ts'
import { type OrderedChannel, openChannel } from './channel.ts'
import { Copies } from './copies.ts'
import { entryOf } from './entry.ts'
import { declareRetryQueue, type LayoutPorts } from './layout.ts'
import { partitionQueueOf, retryQueueOfPartition } from './names.ts'
import { repeats } from './repeats.ts'
import { Turns } from './turns.ts'

export interface PartitionPorts extends LayoutPorts {
  readonly settler: Settler
  readonly mover: Mover
  readonly publisher: Publisher
  readonly onDelivery: OnDelivery
  readonly slots: Slots
  /** Aborts when handlers are to give up. */
  readonly forced: AbortSignal
}

/** A partition that this process reads. */
export interface Partition {
  /** Aborts when it reads no more. */
  readonly lost: AbortSignal
  /** How long the oldest message has been without an answer, in milliseconds. */
  heldMs(): number
  /** Begins nothing more, waits for what has been begun, and gives the rest back in order. */
  stop(): Promise<void>
}

/** Messages of a partition that wait in the process, at most: those behind keys that are held. */
const AHEAD = 500

/** Begins to read a partition. What a former owner held comes first. */
export async function openPartition(
  ports: PartitionPorts,
  model: ChannelModel,
  queue: string,
  index: number,
): Promise<Partition> {
  const name = partitionQueueOf(queue, index)
  const channel = await openChannel(model, `queue '${name}'`, {
    timeoutMs: ports.settings.connectTimeoutMs,
    describe: ports.describe,
  })
  const stopping = new AbortController()
  try {
    const turns = await beginTurns(ports, { queue, index, channel, stopping: stopping.signal })
    return {
      lost: channel.lost,
      heldMs: () => channel.heldMs(),
      async stop() {
        stopping.abort()
        await turns.settled()
        await closing(ports, channel)
      },
    }
  } catch (error) {
    stopping.abort()
    await closeQuietly(channel.channel)
    throw error
  }
}

interface Place {
  readonly queue: string
  readonly index: number
  readonly channel: OrderedChannel
  readonly stopping: AbortSignal
}

async function beginTurns(ports: PartitionPorts, place: Place): Promise<Turns> {
  const { queue, index, channel, stopping } = place
  const partitionQueue = partitionQueueOf(queue, index)
  const retryQueue = retryQueueOfPartition(queue, index)
  const copies: Copies = new Copies({
    channel,
    retryQueue,
    declare: () => declareRetryQueue(ports, queue, index),
    mover: ports.mover,
    publisher: ports.publisher,
    onForeign: (entry) => turns.add(entry),
  })
  // One for all deliveries of the channel, which are lost together.
  const givingUp = linkAbort(channel.lost, ports.forced)
  givingUp.follow(() => givingUp[Symbol.dispose]())
  const { settler, settings, slots, onDelivery } = ports
  const same = { queue, partitionQueue, channel, copies, stopping, givingUp }
  const turns = new Turns({ ...same, settler, settings, slots, onDelivery })
  if (await ports.topology.exists(retryQueue))
    for (const entry of await copies.adopt()) turns.add(entry)
  const isRepeat = repeats()
  await channel.channel.prefetch(AHEAD)
  await channel.channel.consume(partitionQueue, (message: ConsumeMessage | null) => {
    // The broker cancelled: the queue was deleted or moved.
    if (message === null) {
      void closeQuietly(channel.channel)
      return
    }
    const answer = channel.take(message)
    if (copies.isTwin(message) || isRepeat(message)) answer('ack')
    else turns.add(entryOf({ message, answer }))
  })
  return turns
}

async function closing({ settings }: PartitionPorts, channel: OrderedChannel): Promise<void> {
  try {
    await channel.close()
  } catch (error) {
    settings.logger.debug(errorFields(error), 'the channel of a partition was not closed in time')
  }
}
