import { MersalError } from '../../../core/errors/errors.ts'
import type { QueueRemoval } from '../../../core/transport.ts'
import { systemClock } from '../../../lib/async/clock.ts'
import type { Describe } from '../../shared/describe.ts'
import { replyCode } from '../connection/address.ts'
import { type RabbitLink, withChannel } from '../connection/client.ts'
import type { RabbitSettings } from '../options.ts'
import { counts } from './queue-overviews.ts'
import { retryDelaysMs } from '../consume/retry-ladder.ts'
import { deadQueueOf, retryQueueOf } from './topology.ts'

export interface RemovePorts {
  readonly link: RabbitLink
  readonly settings: RabbitSettings
  readonly describe: Describe
}

/**
 * Removes the queue with its bindings, `parts` of it before, then the queues of its dead letters
 * and retries. The broker itself refuses to remove a classic queue that is read or not empty. It
 * knows no such condition for a quorum queue: what somebody sends straight to that between the look
 * and the removal is lost.
 */
export async function removeQueue(
  ports: RemovePorts,
  queue: string,
  parts: readonly string[] = [],
): Promise<QueueRemoval> {
  const names = [
    ...parts,
    queue,
    deadQueueOf(queue),
    ...retryDelaysMs.map((delayMs) => retryQueueOf(queue, delayMs)),
  ]
  const there: string[] = []
  for (const name of names) {
    const found = await countsAtRest(ports, name)
    if (found === undefined) continue
    if (found.messageCount > 0) return { kind: 'kept', why: `messages are in '${name}'` }
    if (found.consumerCount > 0) return { kind: 'kept', why: `somebody reads '${name}'` }
    there.push(name)
  }
  for (const name of there) {
    if (!(await remove(ports, name)))
      return { kind: 'kept', why: `messages or a consumer have come to '${name}'` }
  }
  return { kind: 'removed' }
}

/**
 * A reader that has left is counted for a moment: by a quorum queue until its answers are written.
 */
const LEAVING_MS = 1000
const LOOK_EVERY_MS = 50

/** Looks again while somebody reads the queue, who may have left just now. */
async function countsAtRest({ link, describe }: RemovePorts, name: string) {
  const until = systemClock.monotonic() + LEAVING_MS
  for (;;) {
    const found = await counts(link, name, describe)
    if (found === undefined || found.consumerCount === 0 || found.messageCount > 0) return found
    if (systemClock.monotonic() >= until) return found
    await systemClock.sleep(LOOK_EVERY_MS)
  }
}

/** False: the broker kept it, because it is in use. */
async function remove({ link, settings, describe }: RemovePorts, name: string): Promise<boolean> {
  const conditions = settings.queueType === 'classic' ? { ifEmpty: true, ifUnused: true } : {}
  try {
    await withChannel(link, (channel) => channel.deleteQueue(name, conditions))
    return true
  } catch (error) {
    const code = replyCode(error)
    if (code === 406) return false
    throw new MersalError(
      code === 403 ? 'MERSAL_INVALID_OPTIONS' : 'MERSAL_UNAVAILABLE',
      `queue '${name}' could not be removed: ${describe(error)}`,
      { cause: error },
    )
  }
}
