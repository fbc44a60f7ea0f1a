import { type LinkedAbort, linkAbort } from '../../lib/async/linked-abort.ts'
import type { Unit } from './unit.ts'

/** Counts the units of work in progress, knows them by their handles, and can give them all up. */
export class OpenUnits<Tx> {
  readonly #byHandle = new WeakMap<object, Unit<Tx>>()
  readonly #open = new Set<LinkedAbort>()
  #forced: Error | undefined
  #idle = Promise.withResolvers<void>()

  constructor() {
    this.#idle.resolve()
  }

  /** The link aborts with the signal, and when the app is stopped by force. */
  async run<Result>(
    signal: AbortSignal | undefined,
    work: (link: LinkedAbort) => Promise<Result>,
  ): Promise<Result> {
    using link = linkAbort(signal)
    if (this.#forced !== undefined) link.abort(this.#forced)
    if (this.#open.size === 0) this.#idle = Promise.withResolvers()
    this.#open.add(link)
    try {
      return await work(link)
    } finally {
      this.#open.delete(link)
      if (this.#open.size === 0) this.#idle.resolve()
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

  /** Resolves when none is in progress. */
  idle(): Promise<void> {
    return this.#idle.promise
  }

  abort(reason: Error): void {
    this.#forced ??= reason
    for (const link of this.#open) link.abort(reason)
  }
}
