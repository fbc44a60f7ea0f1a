import { MersalError } from '../../core/errors/errors.ts'
import type { Envelope, OutgoingMessage } from '../../core/messages/message.ts'
import type { Cancellation } from '../../core/outbox.ts'
import type { TransactionContext } from '../../core/transaction.ts'
import { type ObservedPromise, observe, observeNow } from '../../lib/async/observed.ts'
import { isPromise } from '../send/body.ts'
import { notAwaited, parallel, unitEnded } from '../send/unit-errors.ts'
import { type AfterCommit, checkAfterCommit } from './after-commit.ts'
import { type Captured, type Slot, captured, delayedOf, restore } from './held/slots.ts'

/** A call of the user in a unit: a send, a savepoint, a joined part. */
interface Call {
  readonly what: string
  readonly promise: ObservedPromise<unknown>
  settled: boolean
  /** The savepoint that it was made in. */
  readonly level: Level | undefined
  /** The error of the call, which fails the unit. */
  failure?: { readonly error: unknown }
}

/** An open savepoint: how many messages, calls and works the unit had when it was made. */
export interface Level {
  readonly outer: Level | undefined
  readonly slots: number
  readonly calls: number
  readonly works: number
  /** What was done before it has a lower one. */
  readonly number: number
}

export interface UnitFacts<Tx> {
  readonly cause?: Envelope | undefined
  /** The unit that this one is a part of. When that unit ends, this part ends too. */
  readonly whole?: Unit<Tx>
  /** Ties the messages up to this number to the open savepoints of the database. */
  readonly mark?: (number: number) => Promise<void> | undefined
  /** The savepoint that the current code runs in. */
  readonly level?: () => Level | undefined
}

/**
 * One transaction that Mersal runs, seen from the code that runs in it. The unit takes messages and
 * nested work, and says at the end whether all of it may be committed. A unit begins open, is
 * closed once before the commit, and takes nothing from then on.
 */
export class Unit<Tx> implements TransactionContext<Tx> {
  readonly tx: Tx
  readonly cause: Envelope | undefined
  readonly #facts: UnitFacts<Tx>
  #open = true
  #numbers = 0
  readonly #calls: Call[] = []
  readonly #slots: Slot[] = []
  readonly #levels: Level[] = []
  readonly #afterCommit: AfterCommit[] = []

  constructor(tx: Tx, facts: UnitFacts<Tx>) {
    this.tx = tx
    this.cause = facts.cause
    this.#facts = facts
  }

  get open(): boolean {
    return this.#open && this.#facts.whole?.open !== false
  }

  /** This is a part that has ended, and its transaction goes on with other parts. */
  get late(): boolean {
    return !this.#open && this.#facts.whole?.open === true
  }

  /**
   * Takes a message. Messages keep the order of the calls. Resolves to the id of the message. What
   * `capture` throws rejects the call.
   */
  add(what: string, capture: () => OutgoingMessage | Promise<OutgoingMessage>): Promise<string> {
    if (!this.open) return Promise.reject(unitEnded(what))
    if (!this.#inPlace()) return this.#follow(what, () => Promise.reject(parallel(what)))
    const number = this.#draw()
    const tied = this.#tie(number)
    const slot: Slot = { number, message: undefined, dropped: false, cancels: [] }
    this.#slots.push(slot)
    let made: OutgoingMessage | Promise<OutgoingMessage>
    try {
      made = capture()
    } catch (error) {
      return this.#follow(what, () => Promise.reject(error))
    }
    if (tied === undefined && !isPromise(made)) {
      slot.message = made
      return this.#taken(what, made.id)
    }
    return this.#follow(what, async () => {
      const message = await made
      if (!this.open) throw unitEnded(what)
      slot.message = message
      await tied
      return message.id
    })
  }

  /**
   * Takes a message back: where it is not written yet, also of an earlier part of its transaction,
   * and where `inStore` does. Fails as `add` does.
   */
  cancel(id: string, inStore: () => Promise<Cancellation>): Promise<Cancellation> {
    const what = 'cancel()'
    if (!this.open) return Promise.reject(unitEnded(what))
    if (!this.#inPlace()) return this.#follow(what, () => Promise.reject(parallel(what)))
    const slots = this.#slotsOf(id)
    if (slots.length === 0) return this.#follow(what, inStore)
    const number = this.#draw()
    for (const slot of slots) slot.cancels = [...slot.cancels, number]
    const tied = this.#tie(number) ?? Promise.resolve()
    return this.#follow(what, async () => {
      await tied
      // An earlier transaction may have written a message with this id, too.
      return (await inStore()) === 'gone' ? 'gone' : 'cancelled'
    })
  }

  #slotsOf(id: string): readonly Slot[] {
    const { whole } = this.#facts
    return [...(whole === undefined ? [] : whole.#slotsOf(id)), ...delayedOf(this.#slots, id)]
  }

  /** Notes what is to run once the commit is certain. Throws as `add` rejects. */
  afterCommit(work: AfterCommit): void {
    const what = 'afterCommit()'
    checkAfterCommit(work)
    if (!this.open) throw unitEnded(what)
    if (!this.#inPlace()) throw parallel(what)
    this.#afterCommit.push(work)
  }

  /** What was noted and not undone. */
  get works(): readonly AfterCommit[] {
    return this.#afterCommit
  }

  /** Closes a part of this unit and takes over its messages. Throws as `close` of the part. */
  adopt(part: Unit<Tx>): void {
    const messages = part.close()
    if (!this.open) throw unitEnded('a handler')
    for (const message of messages) this.#slots.push({ ...message, dropped: false })
    this.#afterCommit.push(...part.works)
  }

  /**
   * Runs nested work in this unit. If the work fails, the whole unit fails, even if the failure is
   * caught.
   */
  join<Result>(work: () => Promise<Result>): Promise<Result> {
    const what = 'a nested transaction()'
    if (!this.open) return Promise.reject(unitEnded(what))
    return this.#follow(what, async () => {
      const result = await work()
      // Nobody awaited it, so the unit was rolled back: its result must not look like a success.
      if (!this.open) throw unitEnded(what)
      return result
    })
  }

  /** Runs nested work whose failure may be caught. The call still has to be awaited. */
  nest<Result>(what: string, work: () => Promise<Result>): Promise<Result> {
    if (!this.open) return Promise.reject(unitEnded(what))
    if (!this.#inPlace()) return this.#follow(what, () => Promise.reject(parallel(what)))
    return this.#follow(what, work, { mayFail: true })
  }

  /** Notes a new savepoint. From now on only code that runs in this savepoint may send. */
  enter(): Level {
    const level = {
      outer: this.#levels.at(-1),
      slots: this.#slots.length,
      calls: this.#calls.length,
      works: this.#afterCommit.length,
      number: this.#draw(),
    }
    this.#levels.push(level)
    return level
  }

  /** Throws if something in this savepoint was not awaited. */
  assertAwaited(level: Level): void {
    const loose = this.#calls.slice(level.calls).find(isLoose)
    if (loose !== undefined) throw notAwaited(loose.what, 'its savepoint')
  }

  /**
   * Notes the end of a savepoint. A rollback drops the messages of the savepoint and forgives the
   * failures in it, but not those of calls that were made beside it.
   */
  leave(level: Level, how: 'released' | 'rolled back'): void {
    this.#levels.splice(this.#levels.indexOf(level))
    if (how === 'released') return
    for (const slot of this.#slots.slice(level.slots)) slot.dropped = true
    this.#restore(level.number)
    this.#afterCommit.length = level.works
    for (const call of this.#calls.slice(level.calls))
      if (isInside(call.level, level)) delete call.failure
  }

  /** Undoes what was taken back after this number. */
  #restore(last: number): void {
    restore(this.#slots, last)
    const { whole } = this.#facts
    if (whole !== undefined) whole.#restore(last)
  }

  /**
   * Closes the unit and returns the messages to be stored. Throws `MERSAL_ROLLED_BACK` or
   * `MERSAL_NOT_AWAITED` if nothing may be committed.
   */
  close(): readonly Captured[] {
    this.#open = false
    const failed = this.#calls.find((call) => call.failure !== undefined)
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
    const loose = this.#calls.find(isLoose)
    if (loose !== undefined) throw notAwaited(loose.what, 'its unit')
    return captured(this.#slots)
  }

  /** Ends the unit without a look at what it has taken. */
  end(): void {
    this.#open = false
  }

  /**
   * Whether the current code runs in the youngest savepoint, or outside of all if there is none.
   */
  #inPlace(): boolean {
    return this.#levels.at(-1) === this.#facts.level?.()
  }

  #draw(): number {
    const { whole } = this.#facts
    return whole === undefined ? ++this.#numbers : whole.#draw()
  }

  #tie(number: number): Promise<void> | undefined {
    const { whole, mark } = this.#facts
    return whole === undefined ? mark?.(number) : whole.#tie(number)
  }

  /** A call that has gone well already. It still has to be awaited. */
  #taken<Result>(what: string, result: Result): Promise<Result> {
    const promise = observeNow(result)
    this.#calls.push({ what, promise, settled: true, level: this.#facts.level?.() })
    return promise
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
        if (!mayFail) call.failure = { error }
        throw error
      }
    }
    const { promise, resolve } = Promise.withResolvers<Result>()
    const level = this.#facts.level?.()
    const call: Call = { what, promise: observe(promise), settled: false, level }
    this.#calls.push(call)
    resolve(note())
    // Settled just before the promise that the caller holds: code that has awaited that promise
    // finds the call settled. Code that has only caught its failure does not.
    const settle = (): void => void (call.settled = true)
    promise.then(settle, settle)
    // The failure is not lost: the unit reports it.
    call.promise.quieten()
    return call.promise as ObservedPromise<Result>
  }
}

const isLoose = (call: Call): boolean => !call.promise.observed || !call.settled

function isInside(level: Level | undefined, outer: Level): boolean {
  for (let each = level; each !== undefined; each = each.outer) if (each === outer) return true
  return false
}
