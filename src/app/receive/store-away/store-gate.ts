import { errorFields } from '../../../core/errors/error-text.ts'
import type { Logger } from '../../../core/telemetry.ts'
import { type Backoff, backoffMs } from '../../../lib/async/backoff.ts'
import type { Clock, Random } from '../../../lib/async/clock.ts'
import { linkAbort } from '../../../lib/async/linked-abort.ts'

export interface StoreGatePorts {
  readonly app: string
  readonly logger: Logger
  readonly clock: Clock
  readonly random: Random
  /** Asks the store for a small piece of work that also writes. Rejects if the store fails. */
  readonly probe: (signal: AbortSignal) => Promise<void>
}

/** Waiting time between two probes of a store that is away. */
const PROBES: Backoff = { firstMs: 1000, longestMs: 10_000, factor: 1.5 }
/** Shortest time between two warnings of the same kind, in milliseconds. */
const WARN_EVERY_MS = 60_000
/** A probe that takes longer has failed: a frozen database answers nothing. */
const PROBE_MS = 5000

/**
 * Lets deliveries go on to the store, or makes them wait. The gate is closed while the store is
 * away. Then one probe at a time asks whether the store is back. The gate logs one warning when it
 * closes and one when it opens.
 */
export class StoreGate {
  readonly #ports: StoreGatePorts
  readonly #stopping = new AbortController()
  /** Set while the store is away. Resolves when it is back, or when all waiting has ended. */
  #away: Promise<void> | undefined
  #probing: Promise<{ readonly error: unknown } | undefined> | undefined
  #quietUntil = Number.NEGATIVE_INFINITY

  constructor(ports: StoreGatePorts) {
    this.#ports = ports
  }

  get open(): boolean {
    return this.#away === undefined
  }

  /** Ends all waiting. */
  stop(): void {
    this.#stopping.abort('stopping')
  }

  /**
   * Resolves to true when the store is back. Resolves to false if the app stops, the signal aborts
   * or `longestMs` is over before.
   */
  async passes(signal: AbortSignal, longestMs: number): Promise<boolean> {
    const deadline = this.#ports.clock.monotonic() + longestMs
    while (this.#away !== undefined) {
      const left = deadline - this.#ports.clock.monotonic()
      if (left <= 0 || signal.aborted || this.#stopping.signal.aborted) return false
      using waiting = linkAbort(signal, this.#stopping.signal)
      void this.#away.then(() => waiting.abort('back'))
      await this.#ports.clock.sleep(left, waiting.signal)
    }
    return !signal.aborted && !this.#stopping.signal.aborted
  }

  /** Waits. Resolves to false if the app stops or the signal aborts meanwhile. */
  async rest(ms: number, signal: AbortSignal): Promise<boolean> {
    using waiting = linkAbort(signal, this.#stopping.signal)
    await this.#ports.clock.sleep(ms, waiting.signal)
    return !waiting.signal.aborted
  }

  /** Logs that the store works and yet failed for a delivery: at most one line a minute. */
  complain(error: unknown): void {
    const { app, logger, clock } = this.#ports
    if (clock.monotonic() < this.#quietUntil) return
    this.#quietUntil = clock.monotonic() + WARN_EVERY_MS
    logger.warn(
      { app, ...errorFields(error) },
      'the database answers, but failed for a message; the message is tried again uncharged',
    )
  }

  /**
   * Asks the store whether it works. If it does not, the gate is closed until it does.
   */
  async works(): Promise<boolean> {
    // A probe that is under way may have seen the store before it failed.
    await this.#probing
    if (this.#away !== undefined) return false
    const failure = await (this.#probing ??= this.#probe())
    if (failure === undefined) return true
    this.#away ??= this.#untilBack(failure.error)
    return false
  }

  async #untilBack(error: unknown): Promise<void> {
    const { app, logger, clock, random } = this.#ports
    const { signal } = this.#stopping
    logger.warn(
      { app, ...errorFields(error) },
      'the database is away: receiving pauses, no message is charged, and it goes on when it is back',
    )
    const began = clock.monotonic()
    for (let failures = 1; ; failures++) {
      await clock.sleep(backoffMs(PROBES, failures, random), signal)
      if (signal.aborted) break
      const failure = await (this.#probing ??= this.#probe())
      if (failure === undefined) {
        logger.warn(
          { app, awayMs: Math.round(clock.monotonic() - began) },
          'the database is back: receiving goes on',
        )
        break
      }
      logger.debug({ app, ...errorFields(failure.error) }, 'the database is still away')
    }
    this.#away = undefined
  }

  /** Never rejects. */
  async #probe(): Promise<{ readonly error: unknown } | undefined> {
    const { clock, probe } = this.#ports
    using limit = linkAbort(this.#stopping.signal)
    const done = new AbortController()
    const late = clock.sleep(PROBE_MS, done.signal).then(() => {
      const error = new Error(`the database did not answer within ${PROBE_MS} ms`)
      limit.abort(error)
      return { error }
    })
    try {
      const answer = probe(limit.signal).then(
        () => undefined,
        (error: unknown) => ({ error }),
      )
      return await Promise.race([answer, late])
    } finally {
      done.abort('done')
      this.#probing = undefined
    }
  }
}
