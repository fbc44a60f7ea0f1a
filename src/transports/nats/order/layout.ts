import { RetentionPolicy } from '@nats-io/jetstream'
import { nanos } from '@nats-io/transport-node'
import { MersalError } from '../../../core/errors/errors.ts'
import { invalid, type NatsSettings } from '../options.ts'
import { consumersOf, removeConsumer } from '../topology/consumers.ts'
import { CONSUMER, SPLIT } from '../topology/names.ts'
import type { Topology } from '../topology/topology.ts'

/** One of the shares into which the work on a queue is divided. */
export interface Part {
  /** `split`, or the number of a partition. */
  readonly name: string
  readonly stream: string
  /** Of the messages that belong to it; undefined: all of the stream. */
  readonly subject: string | undefined
}

/** The one that moves messages on, and the partitions. */
export function partsOf({ names }: Topology, queue: string, partitions: number): readonly Part[] {
  const stream = names.orderOf(queue)
  return [
    { name: SPLIT, stream: names.streamOf(queue), subject: undefined },
    ...Array.from({ length: partitions }, (_, index) => {
      return { name: String(index), stream, subject: names.partitionOf(queue, index) }
    }),
  ]
}

/** Makes the stream of the partitions. Throws if there is one with another number of them. */
export async function prepareOrder(
  topology: Topology,
  { partitions, maxQueueBytes, duplicateWindowMs }: NatsSettings,
  queue: string,
): Promise<void> {
  const stream = topology.names.orderOf(queue)
  const subjects = partsOf(topology, queue, partitions).flatMap(({ subject }) => subject ?? [])
  const there = (await topology.info(stream))?.config.subjects.length ?? partitions
  if (there !== partitions)
    throw invalid(
      'partitions',
      `queue '${queue}' is read in ${there} partitions, and ${partitions} are asked for: a key would move. Let them run empty, stop every process, delete the stream '${stream}', and start again`,
    )
  await topology.stream({
    ...topology.shared(stream, subjects, {
      max_bytes: maxQueueBytes,
      duplicate_window: nanos(duplicateWindowMs),
    }),
    retention: RetentionPolicy.Workqueue,
  })
}

const unordered = (queue: string, why: string): MersalError =>
  new MersalError(
    'MERSAL_INVALID_OPTIONS',
    `receive.orderPerKey: queue '${queue}' is read in order: ${why}. Set orderPerKey here, too; or let the partitions run empty in order, stop every process, and start without it`,
    { details: { field: 'receive.orderPerKey' } },
  )

/**
 * A consumer that keeps no order must not read beside others that do, and would never see what is
 * in the partitions. Throws `MERSAL_INVALID_OPTIONS`.
 */
export async function refuseUnordered(topology: Topology, queue: string): Promise<void> {
  const { names } = topology
  const ordered = await topology.info(names.orderOf(queue))
  if (ordered === undefined) return
  const { messages } = ordered.state
  if (messages > 0) throw unordered(queue, `${messages} messages are in its partitions`)
  const stream = names.streamOf(queue)
  if ((await topology.consumerInfo(stream)) !== undefined) return
  for (const { name, num_waiting: readers } of await consumersOf(topology, stream)) {
    if (readers > 0) throw unordered(queue, 'a process reads it in order')
    // Of a process that was killed.
    await removeConsumer(topology, stream, name)
  }
  await topology.queue(queue)
  if ((await topology.consumerInfo(stream)) === undefined)
    throw unordered(queue, `the stream has no consumer '${CONSUMER}'`)
}
