import { errorFields } from '../../core/errors/error-text.ts'
import type { OutboxOverview, StoreOperations } from '../../core/operations.ts'
import type { OutboxStorage } from '../../core/outbox.ts'
import type { Logger } from '../../core/telemetry.ts'
import { abortable } from '../../lib/async/linked-abort.ts'
import type { UnconfirmedPlace } from './unconfirmed.ts'

/** What tells of the outbox of a store; a store need not. */
export interface LeftIn {
  readonly operations?: Pick<StoreOperations, 'overview'>
  readonly outbox?: Pick<OutboxStorage<never>, 'waiting'>
}

export interface LeftPorts {
  readonly logger: Logger
  readonly signal: AbortSignal
}

/** Delayed rows are counted up to this number; further ones are taken for tried in vain. */
const MOST_DELAYED = 10_000

/**
 * Which of these places of one store have messages to be tried again. What was confirmed by another
 * relay, or is in its hands, has gone; what its sender has delayed does not count. A store that
 * cannot say has them all.
 */
export async function leftIn(
  store: LeftIn,
  places: readonly UnconfirmedPlace[],
  { logger, signal }: LeftPorts,
): Promise<readonly UnconfirmedPlace[]> {
  const overview = store.operations?.overview
  if (overview === undefined || places.length === 0) return places
  try {
    return await abortable(signal, async () => {
      const began = performance.now()
      const upcoming = (await store.outbox?.waiting?.upcoming({ limit: MOST_DELAYED })) ?? []
      const found = await overview({ keys: 0 })
      // What has fallen due since then is in both answers.
      const passedMs = performance.now() - began
      const delayed = upcoming.filter(({ inMs }) => inMs > passedMs).length
      return places.filter(({ destination }) => isLeft(found, destination, delayed))
    })
  } catch (thrown) {
    const app = places[0]?.app
    logger.error({ app, ...errorFields(thrown) }, 'the store could not say what is left')
    return places
  }
}

function isLeft(found: OutboxOverview, destination: string, delayed: number): boolean {
  const place = found.destinations.find((one) => one.destination === destination)
  if (place === undefined || place.pending <= place.claimed) return false
  // Rows that wait for another try cannot be told from delayed ones by destination.
  const waiting = found.pending - found.due - found.claimed - delayed
  return place.due > 0 || waiting > 0
}
