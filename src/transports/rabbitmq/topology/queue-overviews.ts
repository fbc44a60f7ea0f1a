import { MersalError } from '../../../core/errors/errors.ts'
import type { QueueOverview } from '../../../core/operations.ts'
import type { Describe } from '../../shared/describe.ts'
import { replyCode } from '../connection/address.ts'
import { type RabbitLink, withChannel } from '../connection/client.ts'
import { canBeOurs, deadQueueOf } from './topology.ts'

interface Counts {
  readonly messageCount: number
  readonly consumerCount: number
}

/**
 * AMQP has no list of queues, so these are asked for by name; those that do not exist are left out.
 */
export async function queueOverviews(
  link: RabbitLink,
  names: readonly string[],
  describe: Describe,
): Promise<readonly QueueOverview[]> {
  const overviews: QueueOverview[] = []
  for (const queue of names) {
    if (!canBeOurs(queue)) continue
    const [own, dead] = [
      await counts(link, queue, describe),
      await counts(link, deadQueueOf(queue), describe),
    ]
    if (own === undefined && dead === undefined) continue
    overviews.push({
      queue,
      dead: dead?.messageCount ?? 0,
      waiting: own?.messageCount ?? 0,
      consumers: own?.consumerCount ?? 0,
    })
  }
  return overviews
}

/** Undefined: there is no such queue. On a channel of its own, because that answer closes it. */
export async function counts(
  link: RabbitLink,
  queue: string,
  describe: Describe,
): Promise<Counts | undefined> {
  try {
    return await withChannel(link, (channel) => channel.checkQueue(queue))
  } catch (error) {
    if (replyCode(error) === 404) return undefined
    throw new MersalError(
      'MERSAL_UNAVAILABLE',
      `queue '${queue}' could not be looked at: ${describe(error)}`,
      { cause: error },
    )
  }
}
