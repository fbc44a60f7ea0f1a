/** Counts the units of work in progress, and can give them all up. */
export class OpenUnits {
  readonly #forced = new AbortController()
  #count = 0
  #idle = Promise.withResolvers<void>()

  constructor() {
    this.#idle.resolve()
  }

  /** Aborts when the app is stopped by force. */
  get signal(): AbortSignal {
    return this.#forced.signal
  }

  async run<Result>(work: () => Promise<Result>): Promise<Result> {
    if (this.#count++ === 0) this.#idle = Promise.withResolvers()
    try {
      return await work()
    } finally {
      if (--this.#count === 0) this.#idle.resolve()
    }
  }

  /** Resolves when none is in progress. */
  idle(): Promise<void> {
    return this.#idle.promise
  }

  abort(reason: Error): void {
    this.#forced.abort(reason)
  }
}
