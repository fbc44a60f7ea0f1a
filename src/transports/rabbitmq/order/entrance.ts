import { MersalError } from '../../../core/errors/errors.ts'
import type { QueueOverview } from '../../../core/operations.ts'
import type { Describe } from '../../shared/describe.ts'
import type { RabbitLink } from '../connection/client.ts'
import { counts } from '../topology/queue-overviews.ts'
import { canBeOurs } from '../topology/topology.ts'
import {
  membersQueueOf,
  MOST_PARTITIONS,
  partitionQueueOf,
  retryQueueOfPartition,
} from './names.ts'

interface Ports {
  readonly link: RabbitLink
  readonly describe: Describe
}

/** The queues of a queue that is or was read in order. Empty if it never was. */
export async function orderedParts({ link, describe }: Ports, queue: string): Promise<Parts> {
  const members = canBeOurs(queue) ? await counts(link, membersQueueOf(queue), describe) : undefined
  if (members === undefined) return { names: [], waiting: 0, readers: 0 }
  const names: string[] = [membersQueueOf(queue)]
  let waiting = 0
  for (let index = 0; index < MOST_PARTITIONS; index++) {
    const partition = await counts(link, partitionQueueOf(queue, index), describe)
    if (partition === undefined) break
    const retries = await counts(link, retryQueueOfPartition(queue, index), describe)
    names.push(partitionQueueOf(queue, index))
    if (retries !== undefined) names.push(retryQueueOfPartition(queue, index))
    waiting += partition.messageCount + (retries?.messageCount ?? 0)
  }
  return { names, waiting, readers: members.consumerCount }
}

export interface Parts {
  readonly names: readonly string[]
  /** Messages that are in nobody's hands. */
  readonly waiting: number
  /** Processes that read in order. */
  readonly readers: number
}

/**
 * A consumer that keeps no order must not read beside others that do, and would never see what is
 * in the partitions. Throws `MERSAL_INVALID_OPTIONS`.
 */
export async function refuseUnordered(ports: Ports, queue: string): Promise<void> {
  const { waiting, readers } = await orderedParts(ports, queue)
  if (waiting === 0 && readers === 0) return
  const why =
    readers > 0
      ? `${readers} processes read it in order`
      : `${waiting} messages are in its partitions`
  throw new MersalError(
    'MERSAL_INVALID_OPTIONS',
    `receive.orderPerKey: queue '${queue}' is read in order: ${why}. Set orderPerKey here, too; or let the partitions run empty in order, stop every process, and start without it`,
    { details: { field: 'receive.orderPerKey' } },
  )
}

/** What waits in the partitions waits in the queue. */
export function withParts(
  ports: Ports,
  overviews: readonly QueueOverview[],
): Promise<readonly QueueOverview[]> {
  return Promise.all(
    overviews.map(async (overview) => {
      const { waiting, readers } = await orderedParts(ports, overview.queue)
      return {
        ...overview,
        waiting: overview.waiting + waiting,
        consumers: Math.max(overview.consumers ?? 0, readers),
      }
    }),
  )
}
