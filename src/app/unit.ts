import { MersalError } from '../core/errors.ts'
import type { Envelope, OutgoingMessage } from '../core/message.ts'
import type { TransactionContext } from '../core/transaction.ts'
import { type ObservedPromise, observe } from '../lib/observed.ts'

interface Step {
  readonly what: string
  readonly promise: ObservedPromise<unknown>
  settled: boolean
}

interface Slot {
  message: OutgoingMessage | undefined
}

/**
 * One transaction of ours, seen from the code that runs in it: takes the messages and nested work,
 * and at the end says whether all of it may be committed. It begins open, is closed once, before
 * the commit, and from then on takes nothing.
 */
export class Unit<Tx> implements TransactionContext<Tx> {
  readonly tx: Tx
  readonly cause: Envelope | undefined
  readonly #whole: Unit<Tx> | undefined
  #open = true
  #failure: { readonly what: string; readonly error: unknown } | undefined
  readonly #steps: Step[] = []
  readonly #slots: Slot[] = []

  /** `whole`: the unit that this one is a part of; once that has ended, so has this. */
  constructor(tx: Tx, cause: Envelope | undefined, whole?: Unit<Tx>) {
    this.tx = tx
    this.cause = cause
    this.#whole = whole
  }

  get open(): boolean {
    return this.#open && this.#whole?.open !== false
  }

  /** A part that has ended, while the transaction goes on with others. */
  get late(): boolean {
    return !this.#open && this.#whole?.open === true
  }

  /** Takes a message, in the order of the calls. Resolves to its id. */
  add(what: string, capture: () => Promise<OutgoingMessage>): Promise<string> {
    if (!this.open) return Promise.reject(unitEnded(what))
    const slot: Slot = { message: undefined }
    this.#slots.push(slot)
    return this.#follow(what, async () => {
      const message = await capture()
      if (!this.open) throw unitEnded(what)
      slot.message = message
      return message.id
    })
  }

  /** Closes a part of this unit and takes over its messages. Throws what is amiss in the part. */
  adopt(part: Unit<Tx>): void {
    const messages = part.close()
    if (!this.open) throw unitEnded('a handler')
    for (const message of messages) this.#slots.push({ message })
  }

  /** Runs nested work in this unit: if it fails, the whole unit does, even if the failure is caught. */
  join<Result>(work: () => Promise<Result>): Promise<Result> {
    const what = 'a nested transaction()'
    if (!this.open) return Promise.reject(unitEnded(what))
    return this.#follow(what, async () => {
      const result = await work()
      // It was left behind, so the unit was rolled back: its result must not look like a success.
      if (!this.open) throw unitEnded(what)
      return result
    })
  }

  /** Ends the taking, and returns what is to be stored. Throws if something is amiss: then nothing may be committed. */
  close(): readonly OutgoingMessage[] {
    this.#open = false
    const failure = this.#failure
    if (failure !== undefined) {
      const why = failure.error instanceof Error ? failure.error.message : 'see cause'
      throw new MersalError('MERSAL_ROLLED_BACK', `the unit cannot be committed, since ${failure.what} in it failed: ${why}`, {
        cause: failure.error,
      })
    }
    const loose = this.#steps.find((step) => !step.promise.observed || !step.settled)
    if (loose !== undefined) {
      throw new MersalError(
        'MERSAL_NOT_AWAITED',
        `${loose.what} was not awaited when its unit ended, so the unit was rolled back: await every call`,
      )
    }
    return this.#slots.flatMap((slot) => slot.message ?? [])
  }

  /** Nothing more is taken. */
  end(): void {
    this.#open = false
  }

  #follow<Result>(what: string, run: () => Promise<Result>): Promise<Result> {
    const note = async (): Promise<Result> => {
      try {
        return await run()
      } catch (error) {
        this.#failure ??= { what, error }
        throw error
      } finally {
        step.settled = true
      }
    }
    const { promise, resolve } = Promise.withResolvers<Result>()
    const step: Step = { what, promise: observe(promise), settled: false }
    this.#steps.push(step)
    resolve(note())
    // Its failure is not lost: the unit reports it.
    step.promise.quieten()
    return step.promise as ObservedPromise<Result>
  }
}

export function unitEnded(what: string): MersalError {
  const remedy = 'await it inside the unit, or open a new one with app.transaction()'
  return new MersalError('MERSAL_UNIT_ENDED', `${what} came after its unit had ended: ${remedy}`)
}
