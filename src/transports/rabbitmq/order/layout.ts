import type { Channel } from 'amqplib'
import { MersalError } from '../../../core/errors/errors.ts'
import { systemClock } from '../../../lib/async/clock.ts'
import type { Describe } from '../../shared/describe.ts'
import { replyCode } from '../connection/address.ts'
import { type RabbitLink, withChannel } from '../connection/client.ts'
import type { RabbitSettings } from '../options.ts'
import { appQueueArguments, type Topology, topologyError } from '../topology/topology.ts'
import { membersQueueOf, partitionQueueOf, retryQueueOfPartition } from './names.ts'

export interface LayoutPorts {
  readonly link: RabbitLink
  readonly topology: Topology
  readonly settings: RabbitSettings
  readonly describe: Describe
}

/**
 * A partition goes from one process to the next with all that it holds, and each time the broker
 * counts a delivery. So no count of the broker may end a message.
 */
function partitionArguments(
  queue: string,
  settings: RabbitSettings,
): Record<string, string | number | boolean> {
  const endless = settings.queueType === 'quorum' ? { 'x-delivery-limit': 1_000_000_000 } : {}
  return {
    ...appQueueArguments(queue, settings),
    'x-single-active-consumer': true,
    ...endless,
  }
}

/**
 * Makes the partitions of a queue and the queues of their retries, or looks whether they are there.
 * All at once: a quorum queue whose only node is killed right after it was made has no leader ever
 * after, and a partition cannot be read without its retries. Throws `MERSAL_INVALID_OPTIONS` if the
 * queue has another number of them.
 */
export async function prepareLayout(ports: LayoutPorts, queue: string): Promise<void> {
  const { settings, topology } = ports
  const members = membersQueueOf(queue)
  if (settings.topology === 'check') return checkLayout(ports, queue)
  const isNew = !(await topology.exists(members))
  if (!isNew) await declareMembers(ports, queue)
  const { partitions, retries } = namesIn(queue, settings)
  const options = { durable: true, arguments: partitionArguments(queue, settings) }
  await on(ports, `the partitions of queue '${queue}'`, async (channel) => {
    // What is missing of an older layout is made under the lock of its partition: another process
    // that finds it there would not wait, and could lose what it puts into it.
    for (const name of isNew ? [...partitions, ...retries] : partitions)
      await channel.assertQueue(name, options)
  })
  if (!isNew) return
  if (settings.queueType === 'quorum') await systemClock.sleep(settings.newQueuePauseMs)
  // Last, so that nobody who finds it relies on queues that were just made.
  await declareMembers(ports, queue)
}

/** Names of the partitions of a queue, and of the queues of their retries. */
function namesIn(
  queue: string,
  { partitions }: Pick<RabbitSettings, 'partitions'>,
): Readonly<Record<'partitions' | 'retries', readonly string[]>> {
  const indexes = Array.from({ length: partitions }, (_, index) => index)
  return {
    partitions: indexes.map((index) => partitionQueueOf(queue, index)),
    retries: indexes.map((index) => retryQueueOfPartition(queue, index)),
  }
}

/**
 * The queue of the retries of a partition, if an older version has not made it or somebody has
 * deleted it. Called under the lock of the partition.
 */
export async function declareRetryQueue(
  ports: LayoutPorts,
  queue: string,
  partition: number,
): Promise<void> {
  const { settings, topology } = ports
  const name = retryQueueOfPartition(queue, partition)
  const isNew = settings.topology === 'declare' && !(await topology.exists(name))
  await on(ports, `queue '${name}'`, async (channel) => {
    await (settings.topology === 'check'
      ? channel.checkQueue(name)
      : channel.assertQueue(name, {
          durable: true,
          arguments: partitionArguments(queue, settings),
        }))
  })
  if (isNew && settings.queueType === 'quorum') await systemClock.sleep(settings.newQueuePauseMs)
}

/**
 * The number of partitions is kept where the broker compares it: as the `x-max-length` of a queue
 * that stays empty.
 */
async function declareMembers(ports: LayoutPorts, queue: string): Promise<void> {
  const { settings } = ports
  const members = membersQueueOf(queue)
  const args = { 'x-queue-type': 'classic', 'x-max-length': settings.partitions }
  try {
    await withChannel(ports.link, (channel) =>
      channel.assertQueue(members, { durable: true, arguments: args }),
    )
  } catch (error) {
    if (replyCode(error) === 406) throw otherCount(ports, queue, error)
    throw topologyError(`queue '${members}'`, error, ports.describe)
  }
}

function otherCount({ settings, describe }: LayoutPorts, queue: string, error: unknown): Error {
  const field = 'rabbitmq.partitions'
  const text = `${field}: queue '${queue}' has another number of partitions than ${settings.partitions}. Give the same number; or let the app empty the partitions while nobody sends, stop it, delete '${membersQueueOf(queue)}' and the partitions that are too many, and start with the new number: ${describe(error)}`
  return new MersalError('MERSAL_INVALID_OPTIONS', text, { details: { field } })
}

async function checkLayout(ports: LayoutPorts, queue: string): Promise<void> {
  const { settings, topology } = ports
  const { partitions, retries } = namesIn(queue, settings)
  for (const name of [membersQueueOf(queue), ...partitions, ...retries])
    await on(ports, `queue '${name}'`, (channel) => channel.checkQueue(name))
  if (await topology.exists(partitionQueueOf(queue, settings.partitions)))
    throw otherCount(ports, queue, new Error('there is one partition more'))
}

async function on(
  { link, settings, describe }: LayoutPorts,
  what: string,
  task: (channel: Channel) => Promise<unknown>,
): Promise<void> {
  try {
    await withChannel(link, task, settings.connectTimeoutMs * settings.partitions)
  } catch (error) {
    throw topologyError(what, error, describe)
  }
}
