import { errorFields } from '../../core/errors/error-text.ts'
import type { Logger } from '../../core/telemetry.ts'
import type { ServedRelay } from '../../outbox/many-stores/store-relay.ts'
import { watchUnconfirmed } from './unconfirmed.ts'

export interface OnceOptions {
  /** Of all relays together. */
  readonly name: string
  readonly logger: Logger
  readonly withinMs: number
  /** Since the program began, in milliseconds. */
  readonly passedMs: number
}

/** One run of relays that ends when nothing is left. */
export interface Once extends Disposable {
  /** Resolves when the time is up. */
  readonly late: Promise<void>
  /**
   * Waits until each relay runs and has published what is due and deliverable. Returns whether
   * nothing that is due is left: something is if a store could not be opened, a message was not
   * confirmed, the time was up, or the program was asked to stop.
   */
  drain(relays: readonly ServedRelay[], stop: Promise<string>): Promise<boolean>
}

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
    async drain(relays, stop) {
      void stop.then((reason) => waiting.abort(new Error(`asked to stop by ${reason}`)))
      const drains = relays.map(async (relay) => relay.drain({ signal: waiting.signal }))
      const results = await Promise.allSettled(drains)
      for (const [index, result] of results.entries()) {
        const app = relays[index]?.app ?? name
        if (result.status === 'rejected')
          logger.error({ app, ...errorFields(result.reason) }, 'the outbox was not drained')
      }
      const places = unconfirmed.places()
      for (const place of places)
        logger.error(place, 'messages are left that the destination has not confirmed')
      return places.length === 0 && results.every(({ status }) => status === 'fulfilled')
    },
    [Symbol.dispose]() {
      clearTimeout(timer)
      unconfirmed[Symbol.dispose]()
    },
  }
}
