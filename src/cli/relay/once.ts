import { errorFields } from '../../core/errors/error-text.ts'
import type { Logger } from '../../core/telemetry.ts'
import type { ServedRelay } from '../../outbox/many-stores/store-relay.ts'
import { type LeftIn, leftIn, type LeftPorts } from './left.ts'
import { type UnconfirmedPlace, watchUnconfirmed } from './unconfirmed.ts'

export interface OnceOptions {
  /** Of all relays together. */
  readonly name: string
  readonly logger: Logger
  readonly withinMs: number
  /** Since the program began, in milliseconds. */
  readonly passedMs: number
}

/** A relay with the store that it serves. */
export interface DrainedRelay {
  readonly relay: ServedRelay
  readonly store: LeftIn
}

/** One run of relays that ends when nothing is left. */
export interface Once extends Disposable {
  /** Resolves when the time is up. */
  readonly late: Promise<void>
  /**
   * Waits until each relay runs and has published what is due and deliverable. Returns whether
   * nothing that is due is left: something is if a store could not be opened, a message was not
   * confirmed and is still in the outbox, the time was up, or the program was asked to stop.
   */
  drain(served: readonly DrainedRelay[], stop: Promise<string>): Promise<boolean>
}

/** Most places of what is left that are logged. */
const MOST_NAMED = 10

/** Make it before the relays start: the time counts from here, and so do the answers of brokers. */
export function runOnce({ name, logger, withinMs, passedMs }: OnceOptions): Once {
  const unconfirmed = watchUnconfirmed()
  const waiting = new AbortController()
  const { promise: late, resolve } = Promise.withResolvers<void>()
  const timer = setTimeout(
    () => {
      waiting.abort(new Error(`not everything was published within ${withinMs} ms`))
      resolve()
    },
    Math.max(0, withinMs - passedMs),
  )
  return {
    late,
    async drain(served, stop) {
      void stop.then((reason) => waiting.abort(new Error(`asked to stop by ${reason}`)))
      const { signal } = waiting
      const drains = served.map(async ({ relay }) => relay.drain({ signal }))
      const results = await Promise.allSettled(drains)
      for (const [index, result] of results.entries()) {
        const app = served[index]?.relay.app ?? name
        if (result.status === 'rejected')
          logger.error({ app, ...errorFields(result.reason) }, 'the outbox was not drained')
      }
      const left = await leftOf(served, unconfirmed.places(), { logger, signal })
      for (const { app, destination } of left.slice(0, MOST_NAMED))
        logger.error(
          { app, destination },
          'messages are left that the destination has not confirmed',
        )
      return left.length === 0 && results.every(({ status }) => status === 'fulfilled')
    },
    [Symbol.dispose]() {
      clearTimeout(timer)
      unconfirmed[Symbol.dispose]()
    },
  }
}

async function leftOf(
  served: readonly DrainedRelay[],
  places: readonly UnconfirmedPlace[],
  ports: LeftPorts,
): Promise<readonly UnconfirmedPlace[]> {
  const looks = served.map(({ relay, store }) =>
    leftIn(
      store,
      places.filter(({ app }) => app === relay.app),
      ports,
    ),
  )
  return (await Promise.all(looks)).flat()
}
