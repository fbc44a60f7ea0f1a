import { MersalError } from '../../../core/errors/errors.ts'
import type { PublishOutcome } from '../../../core/transport.ts'

/** Whether the events exchange is there, asked once per channel, when the first event goes out. */
export class EventsExchange {
  readonly #look: () => Promise<void>
  readonly #unavailable: (error: unknown) => PublishOutcome
  #asking: Promise<PublishOutcome | undefined> | undefined
  #isThere = false

  /** `look` makes it or looks for it, and rejects if it is not there. */
  constructor(look: () => Promise<void>, unavailable: (error: unknown) => PublishOutcome) {
    this.#look = look
    this.#unavailable = unavailable
  }

  get isThere(): boolean {
    return this.#isThere
  }

  /** The answer to every event while it is missing; undefined if it is there. */
  async missing(): Promise<PublishOutcome | undefined> {
    const asking = (this.#asking ??= this.#ask())
    const missing = await asking
    if (missing === undefined && this.#asking === asking) this.#isThere = true
    return missing
  }

  forget(): void {
    this.#asking = undefined
    this.#isThere = false
  }

  async #ask(): Promise<PublishOutcome | undefined> {
    try {
      await this.#look()
      return undefined
    } catch (error) {
      this.forget()
      // Publishing to a missing exchange would close the channel under all other messages.
      const missing = error instanceof MersalError && error.details['replyCode'] === 404
      return missing
        ? { kind: 'refused', reason: 'unroutable', error, permanent: false }
        : this.#unavailable(error)
    }
  }
}
