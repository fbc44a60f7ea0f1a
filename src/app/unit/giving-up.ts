import { errorFields } from '../../core/errors/error-text.ts'
import type { Logger } from '../../core/telemetry.ts'
import type { Clock } from '../../lib/async/clock.ts'

/** How long a store may take to end a unit after the signal has aborted, in milliseconds. */
const LAST_ANSWER_MS = 1000

export interface GivingUpPorts {
  readonly app: string
  readonly clock: Clock
  readonly logger: Logger
}

/**
 * Resolves or rejects as the unit does. If the store has not answered a second after the signal
 * has aborted, rejects with the error that `why` makes.
 */
export async function unlessGivenUp(
  ports: GivingUpPorts,
  unit: Promise<void>,
  signal: AbortSignal,
  why: () => Error,
): Promise<void> {
  const { promise: late, reject } = Promise.withResolvers<never>()
  let over: AbortController | undefined
  const onAbort = (): void => {
    over = new AbortController()
    void giveUpLater(ports, unit, over.signal, () => reject(why()))
  }
  if (signal.aborted) onAbort()
  else signal.addEventListener('abort', onAbort, { once: true })
  try {
    await Promise.race([unit, late])
  } finally {
    signal.removeEventListener('abort', onAbort)
    over?.abort('over')
  }
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
