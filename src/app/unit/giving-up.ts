import { errorFields } from '../../core/errors/error-text.ts'
import type { Logger } from '../../core/telemetry.ts'
import type { Clock } from '../../lib/async/clock.ts'
import type { GivingUp } from '../../lib/async/linked-abort.ts'

/** How long a store may take to end a unit after the signal has aborted, in milliseconds. */
const LAST_ANSWER_MS = 1000

export interface GivingUpPorts {
  readonly app: string
  readonly clock: Clock
  readonly logger: Logger
}

/**
 * Resolves or rejects as the unit does. If the store has not answered a second after the link has
 * aborted, rejects with the error that `why` makes.
 */
export function unlessGivenUp(
  ports: GivingUpPorts,
  unit: Promise<void>,
  link: GivingUp,
  why: () => Error,
): Promise<void> {
  return new Promise((resolve, reject) => {
    let over: AbortController | undefined
    const onAbort = (): void => {
      over = new AbortController()
      void giveUpLater(ports, unit, over.signal, () => reject(why()))
    }
    link.follow(onAbort)
    const ended = (): void => {
      link.forget(onAbort)
      over?.abort('over')
    }
    unit.then(
      () => {
        ended()
        resolve()
      },
      (error: unknown) => {
        ended()
        reject(error)
      },
    )
  })
}

async function giveUpLater(
  { clock, logger, app }: GivingUpPorts,
  unit: Promise<void>,
  over: AbortSignal,
  giveUp: () => void,
): Promise<void> {
  await clock.sleep(LAST_ANSWER_MS, over)
  if (over.aborted) return
  unit.catch((error: unknown) =>
    logger.debug({ app, ...errorFields(error) }, 'a unit that had been given up failed later'),
  )
  giveUp()
}
