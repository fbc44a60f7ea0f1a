import { errorFields } from '../../../core/errors/error-text.ts'
import type { Logger } from '../../../core/telemetry.ts'
import { aborted } from '../../../lib/async/abort.ts'
import { systemClock } from '../../../lib/async/clock.ts'
import type { Topology } from '../topology/topology.ts'

/** Between two looks at the stream of a queue that is read. */
const EVERY_MS = 5000
const LOOK_AGAIN_MS = 1000

/** After a crash of the server: hands out again what its consumer has forgotten. */
export async function recover(
  topology: Topology,
  queue: string,
  logger: Logger,
  stop: AbortSignal,
): Promise<void> {
  const first = await topology.leftBehind(queue)
  if (first === undefined) return
  // The stream removes what was acknowledged a moment later.
  await systemClock.sleep(LOOK_AGAIN_MS, stop)
  if (stop.aborted || (await topology.leftBehind(queue)) !== first) return
  logger.warn(
    { queue },
    'NATS has forgotten what its consumer must hand out: all messages in the queue come again',
  )
  await topology.consumerAgain(queue)
}

/** Now and then, until it stops. */
export async function recoverNowAndThen(
  look: () => Promise<void>,
  logger: Logger,
  stop: AbortSignal,
): Promise<void> {
  while (!stop.aborted) {
    try {
      await Promise.race([look(), aborted(stop)])
    } catch (error) {
      logger.debug(errorFields(error), 'the stream of a queue was not looked through')
    }
    await systemClock.sleep(EVERY_MS * (0.75 + Math.random() / 2), stop)
  }
}
