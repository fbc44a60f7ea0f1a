import type { ChannelModel } from 'amqplib'
import { linkAbort } from '../../../lib/async/linked-abort.ts'
import type { Slots } from '../../../lib/async/slots.ts'
import type { OnDelivery } from '../../shared/deliver.ts'
import type { Mover } from '../consume/mover.ts'
import type { Settler } from '../consume/settle.ts'
import type { Publisher } from '../publish/publisher.ts'
import { type ChannelPorts, openReader, type Reader, type Reading } from './channel.ts'
import { Copies } from './copies.ts'
import { entryOf } from './entry.ts'
import { declareRetryQueue, type LayoutPorts } from './layout.ts'
import { partitionQueueOf, retryQueueOfPartition } from './names.ts'
import { createRepeats, type Repeats } from './repeats.ts'
import { Turns } from './turns.ts'

export interface PartitionPorts extends LayoutPorts, Pick<ChannelPorts, 'stopping'> {
  readonly settler: Settler
  readonly mover: Mover
  readonly publisher: Publisher
  readonly onDelivery: OnDelivery
  /** Of all partitions together. */
  readonly slots: Slots
  /** One slot, for those that may end the process, so that they take no others with them. */
  readonly alone: Slots
  /** Aborts when handlers are to give up. */
  readonly forced: AbortSignal
}

/** Messages of a partition that wait in the process, at most: those behind keys that are held. */
const AHEAD = 500

/** Begins to read a partition. What a former owner held comes first. */
export function openPartition(
  ports: PartitionPorts,
  model: ChannelModel,
  queue: string,
  index: number,
): Promise<Reader> {
  const partitionQueue = partitionQueueOf(queue, index)
  const retryQueue = retryQueueOfPartition(queue, index)
  return openReader(ports, model, partitionQueue, async (reading) => {
    const { channel } = reading
    const repeats = createRepeats()
    const place = { queue, partitionQueue, retryQueue, repeats }
    const { copies, turns } = turnsOf(ports, reading, place)
    await declareRetryQueue(ports, queue, index)
    for (const entry of await copies.adopt()) turns.add(entry)
    await channel.consume(partitionQueue, AHEAD, (arrived) => {
      const { message, answer } = arrived
      if (copies.isTwin(message) || repeats.meet(message)) answer('ack')
      else turns.add(entryOf(arrived))
    })
  })
}

interface Place {
  readonly queue: string
  readonly partitionQueue: string
  readonly retryQueue: string
  readonly repeats: Repeats
}

function turnsOf(
  ports: PartitionPorts,
  { channel, stopping, running }: Reading,
  { queue, partitionQueue, retryQueue, repeats }: Place,
): { readonly copies: Copies; readonly turns: Turns } {
  const { settler, settings, slots, alone, onDelivery, mover, publisher, forced } = ports
  const copies: Copies = new Copies({
    channel,
    timeoutMs: settings.connectTimeoutMs,
    retryQueue,
    mover,
    publisher,
    begunHere: settler.begunHere,
    onForeign: (entry) => turns.add(entry),
  })
  // One for all deliveries of the channel, which are lost together.
  const givingUp = linkAbort(channel.lost, forced)
  givingUp.follow(() => givingUp[Symbol.dispose]())
  const mine = { queue, partitionQueue, channel, copies, repeats, stopping, running, givingUp }
  const turns = new Turns({ ...mine, settler, settings, slots, alone, onDelivery })
  return { copies, turns }
}
