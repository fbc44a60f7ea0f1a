import { type Followers, followersOf } from '../../lib/async/abort.ts'
import { inFlight } from '../../lib/async/in-flight.ts'
import { type LinkedAbort, linkAbort, type Stopping } from '../../lib/async/linked-abort.ts'
import type { Unit } from './unit.ts'

/** Counts the units of work in progress, and finds them by their handles. */
export class OpenUnits<Tx> {
  readonly #forced: AbortSignal
  readonly #followers: Followers
  readonly #inFlight = inFlight()
  readonly #byHandle = new WeakMap<object, Unit<Tx>>()

  /** `forced` aborts when the app gives up everything in progress. */
  constructor(forced: AbortSignal) {
    this.#forced = forced
    this.#followers = followersOf(forced)
  }

  /**
   * Runs one unit with a link of its own. The link aborts with `stopping` and when the app is
   * stopped by force. The unit may abort it too.
   */
  async run<Result>(
    stopping: Stopping | undefined,
    work: (link: LinkedAbort) => Promise<Result>,
  ): Promise<Result> {
    using link = linkAbort(stopping)
    const giveUp = (): void => link.abort(this.#forced.reason)
    if (this.#forced.aborted) giveUp()
    this.#followers.add(giveUp)
    this.#inFlight.enter()
    try {
      return await work(link)
    } finally {
      this.#inFlight.leave()
      this.#followers.delete(giveUp)
    }
  }

  /** The open unit whose handle this is. */
  ofHandle(tx: Tx): Unit<Tx> | undefined {
    const unit = typeof tx === 'object' && tx !== null ? this.#byHandle.get(tx) : undefined
    return unit?.open === true ? unit : undefined
  }

  note(unit: Unit<Tx>): void {
    if (typeof unit.tx === 'object' && unit.tx !== null) this.#byHandle.set(unit.tx, unit)
  }

  /** Resolves when no unit is in progress. */
  idle(): Promise<void> {
    return this.#inFlight.idle()
  }
}
