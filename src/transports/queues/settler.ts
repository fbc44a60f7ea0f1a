import { driverFaultOf } from '../../core/errors/store-faults.ts'
import type { Disposition } from '../../core/transport.ts'

/** Which row, and the proof that it is still ours. */
export interface Hold {
  readonly position: string
  readonly token: string
}

/** What became of a row. */
export interface Settled {
  readonly hold: Hold
  readonly disposition: Disposition
}

type Kind<Name extends Disposition['kind']> = Extract<Disposition, { kind: Name }>

/** Those of one kind, each with what was decided. */
export function settledAs<Name extends Disposition['kind']>(
  batch: readonly Settled[],
  kind: Name,
): { readonly hold: Hold; readonly disposition: Kind<Name> }[] {
  return batch.flatMap(({ hold, disposition }) =>
    disposition.kind === kind ? [{ hold, disposition: disposition as Kind<Name> }] : [],
  )
}

export interface SettlerOptions {
  /**
   * Records all of them or none; a former holder changes nothing. Returns the positions that may be
   * the first ones of their keys now.
   */
  readonly record: (batch: readonly Settled[]) => Promise<readonly string[]>
  /** Lets rejected ones wait with their reason, since they cannot be stored as dead letters. */
  readonly putAside: (batch: readonly Settled[]) => Promise<unknown>
  /** Called, and awaited, before the next try. */
  readonly failed: (error: unknown) => Promise<void>
  /** `messages` messages could not be stored as dead letters, and have been set aside. */
  readonly refused: (error: unknown, messages: number) => void
  /** After this nothing is tried any more. */
  readonly signal: AbortSignal
  /** After this, what only gives messages back is not tried a second time. */
  readonly stopping: AbortSignal
  /** Positions that may be the first ones of their keys now. */
  readonly onNext: (positions: readonly string[]) => void
}

interface Waiting extends Settled {
  readonly done: () => void
}

/** Most settlements of one transaction. */
const MOST = 1000
/** Refused dead letters in a row after which the rest of them is not tried now. */
const MOST_REFUSALS = 3

/**
 * Records what became of deliveries: those that come while a transaction is under way share the
 * next one.
 */
export class Settler {
  readonly #options: SettlerOptions
  #waiting: Waiting[] = []
  #running = false
  /** While settlements fail. */
  #behind: PromiseWithResolvers<void> | undefined

  constructor(options: SettlerOptions) {
    this.#options = options
  }

  /**
   * While settlements fail; resolves when they go well again. What is fetched before would count as
   * one more delivery of what is about to be given back.
   */
  get behind(): Promise<void> | undefined {
    return this.#behind?.promise
  }

  /**
   * Resolves when it is recorded, or turned out to be no longer ours, or is given up. Never
   * rejects.
   */
  settle(hold: Hold, disposition: Disposition): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#waiting.push({ hold, disposition, done: resolve })
    if (!this.#running) void this.#run()
    return promise
  }

  async #run(): Promise<void> {
    this.#running = true
    while (this.#waiting.length > 0) await this.#settleAll(this.#waiting.splice(0, MOST))
    this.#running = false
    // Only now: what was decided while the first of them failed is as late as they are.
    this.#behind?.resolve()
    this.#behind = undefined
  }

  async #settleAll(batch: readonly Waiting[]): Promise<void> {
    if ((await this.#persist(batch)) === undefined) return
    // One that cannot become a dead letter must not hold up the others.
    const letters = batch.filter(({ disposition }) => disposition.kind === 'reject')
    await this.#persist(batch.filter((one) => !letters.includes(one)))
    const refused: Waiting[] = []
    let refusal: { readonly error: unknown } | undefined
    for (const letter of letters) {
      const answer =
        refusal !== undefined && refused.length >= MOST_REFUSALS
          ? refusal
          : await this.#persist([letter])
      if (answer === undefined) continue
      refusal = answer
      refused.push(letter)
    }
    if (refusal === undefined) return
    this.#options.refused(refusal.error, refused.length)
    await this.#persist(refused, 'aside')
  }

  /**
   * Tries until it is recorded or given up. Returns why dead letters among them were refused; that
   * is no matter of the database as a whole, such as a missing grant.
   */
  async #persist(
    given: readonly Waiting[],
    way: 'record' | 'aside' = 'record',
  ): Promise<{ readonly error: unknown } | undefined> {
    const { signal, stopping, failed, onNext, record, putAside } = this.#options
    let batch = given
    while (batch.length > 0 && !signal.aborted) {
      try {
        if (way === 'record') onNext(await record(batch))
        else await putAside(batch)
        break
      } catch (error) {
        const burying =
          way === 'record' && batch.some(({ disposition }) => disposition.kind === 'reject')
        if (burying && driverFaultOf(error) === undefined) return { error }
        this.#behind ??= Promise.withResolvers()
        await failed(error)
        // They come again by themselves, after their time.
        if (stopping.aborted)
          batch = batch.filter(({ disposition }) => disposition.kind !== 'release')
      }
    }
    for (const { done } of given) done()
    return undefined
  }
}
