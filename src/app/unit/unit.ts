import { MersalError } from '../../core/errors/errors.ts'
import type { Envelope, OutgoingMessage } from '../../core/messages/message.ts'
import type { TransactionContext } from '../../core/transaction.ts'
import { type ObservedPromise, observe } from '../../lib/async/observed.ts'

interface Step {
  readonly what: string
  readonly promise: ObservedPromise<unknown>
  settled: boolean
  /** What it has failed with, which fails the unit. */
  failure?: { readonly error: unknown }
}

interface Slot {
  readonly number: number
  message: OutgoingMessage | undefined
  dropped: boolean
}

/** A message of a unit, and its number in the transaction, from 1. */
export interface Captured {
  readonly number: number
  readonly message: OutgoingMessage
}

/** A savepoint that is open: what has come since then goes with it. */
export interface Level {
  readonly slots: number
  readonly steps: number
}

export interface UnitFacts<Tx> {
  readonly cause?: Envelope | undefined
  /** The unit that this one is a part of; once that has ended, so has this. */
  readonly whole?: Unit<Tx>
  /** Ties the messages up to this number to the savepoints of the database. */
  readonly mark?: (number: number) => Promise<void> | undefined
  /** The savepoint that the current code runs in. */
  readonly level?: () => Level | undefined
}

/**
 * One transaction of ours, seen from the code that runs in it: takes the messages and nested work,
 * and at the end says whether all of it may be committed. It begins open, is closed once, before
 * the commit, and from then on takes nothing.
 */
export class Unit<Tx> implements TransactionContext<Tx> {
  readonly tx: Tx
  readonly cause: Envelope | undefined
  readonly #facts: UnitFacts<Tx>
  #open = true
  #numbers = 0
  readonly #steps: Step[] = []
  readonly #slots: Slot[] = []
  readonly #levels: Level[] = []

  constructor(tx: Tx, facts: UnitFacts<Tx>) {
    this.tx = tx
    this.cause = facts.cause
    this.#facts = facts
  }

  get open(): boolean {
    return this.#open && this.#facts.whole?.open !== false
  }

  /** A part that has ended, while the transaction goes on with others. */
  get late(): boolean {
    return !this.#open && this.#facts.whole?.open === true
  }

  /** Takes a message, in the order of the calls. Resolves to its id. */
  add(what: string, capture: () => Promise<OutgoingMessage>): Promise<string> {
    if (!this.open) return Promise.reject(unitEnded(what))
    if (!this.#inPlace()) return this.#follow(what, () => Promise.reject(parallel(what)))
    const { number, tied } = this.#draw()
    const slot: Slot = { number, message: undefined, dropped: false }
    this.#slots.push(slot)
    return this.#follow(what, async () => {
      const message = await capture()
      if (!this.open) throw unitEnded(what)
      slot.message = message
      await tied
      return message.id
    })
  }

  /** Closes a part of this unit and takes over its messages. Throws what is amiss in the part. */
  adopt(part: Unit<Tx>): void {
    const messages = part.close()
    if (!this.open) throw unitEnded('a handler')
    for (const { number, message } of messages)
      this.#slots.push({ number, message, dropped: false })
  }

  /**
   * Runs nested work in this unit: if it fails, the whole unit does, even if the failure is caught.
   */
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

  /** Runs nested work whose failure may be caught. It has to be awaited all the same. */
  nest<Result>(what: string, work: () => Promise<Result>): Promise<Result> {
    if (!this.open) return Promise.reject(unitEnded(what))
    if (!this.#inPlace()) return this.#follow(what, () => Promise.reject(parallel(what)))
    return this.#follow(what, work, { mayFail: true })
  }

  /** From now on only code that runs in this savepoint may send. */
  enter(): Level {
    const level = { slots: this.#slots.length, steps: this.#steps.length }
    this.#levels.push(level)
    return level
  }

  /** Throws if something in this savepoint was not awaited. */
  assertAwaited(level: Level): void {
    const loose = this.#steps.slice(level.steps).find(isLoose)
    if (loose !== undefined) throw notAwaited(loose.what, 'its savepoint')
  }

  /**
   * The savepoint has ended. What was rolled back takes its messages along, and what had failed is
   * forgiven.
   */
  leave(level: Level, how: 'released' | 'rolled back'): void {
    this.#levels.splice(this.#levels.indexOf(level))
    if (how === 'released') return
    for (const slot of this.#slots.slice(level.slots)) slot.dropped = true
    for (const step of this.#steps.slice(level.steps)) delete step.failure
  }

  /**
   * Ends the taking, and returns what is to be stored. Throws if something is amiss: then nothing
   * may be committed.
   */
  close(): readonly Captured[] {
    this.#open = false
    const failed = this.#steps.find((step) => step.failure !== undefined)
    if (failed?.failure !== undefined) {
      const { error } = failed.failure
      const why = error instanceof Error ? error.message : 'see cause'
      throw new MersalError(
        'MERSAL_ROLLED_BACK',
        `the unit cannot be committed, since ${failed.what} in it failed: ${why}`,
        {
          cause: error,
        },
      )
    }
    const loose = this.#steps.find(isLoose)
    if (loose !== undefined) throw notAwaited(loose.what, 'its unit')
    return this.#slots.flatMap(({ number, message, dropped }) =>
      message === undefined || dropped ? [] : [{ number, message }],
    )
  }

  /** Nothing more is taken. */
  end(): void {
    this.#open = false
  }

  /**
   * Whether the current code runs in the youngest savepoint, or outside of all if there is none.
   */
  #inPlace(): boolean {
    return this.#levels.at(-1) === this.#facts.level?.()
  }

  #draw(): { readonly number: number; readonly tied: Promise<void> | undefined } {
    const { whole, mark } = this.#facts
    if (whole !== undefined) return whole.#draw()
    const number = ++this.#numbers
    return { number, tied: mark?.(number) }
  }

  #follow<Result>(
    what: string,
    run: () => Promise<Result>,
    { mayFail = false } = {},
  ): Promise<Result> {
    const note = async (): Promise<Result> => {
      try {
        return await run()
      } catch (error) {
        if (!mayFail) step.failure = { error }
        throw error
      }
    }
    const { promise, resolve } = Promise.withResolvers<Result>()
    const step: Step = { what, promise: observe(promise), settled: false }
    this.#steps.push(step)
    resolve(note())
    // Just before the promise that the caller holds: whoever has awaited that finds the step
    // settled, and whoever has only caught its failure does not, however few turns the step itself
    // takes.
    const settle = (): void => void (step.settled = true)
    promise.then(settle, settle)
    // Its failure is not lost: the unit reports it.
    step.promise.quieten()
    return step.promise as ObservedPromise<Result>
  }
}

const isLoose = (step: Step): boolean => !step.promise.observed || !step.settled

function notAwaited(what: string, where: string): MersalError {
  const text = `${what} was not awaited when ${where} ended, so the unit was rolled back: await every call`
  return new MersalError('MERSAL_NOT_AWAITED', text)
}

function parallel(what: string): MersalError {
  const text = `${what} was called beside an open savepoint of the same transaction, or after its own savepoint had ended, so that nobody can tell whether it belongs to it`
  return new MersalError('MERSAL_PARALLEL_SAVEPOINT', `${text}: await savepoint() before you go on`)
}

export function unitEnded(what: string): MersalError {
  const remedy = 'await it inside the unit, or open a new one with app.transaction()'
  return new MersalError('MERSAL_UNIT_ENDED', `${what} came after its unit had ended: ${remedy}`)
}
