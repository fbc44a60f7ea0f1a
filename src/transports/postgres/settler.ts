import { errorText } from '../../core/errors/error-text.ts'
import { driverFaultOf } from '../../core/errors/store-faults.ts'
import type { Disposition } from '../../core/transport.ts'
import type { Query } from '../../sql/postgres/pool/pool.ts'
import { asideMs, asideText, deadText } from '../shared/aside.ts'
import type { Connection } from './connection.ts'
import { delayOf } from './encode.ts'

/** Which row, and the proof that it is still ours. */
export interface Hold {
  readonly position: string
  readonly token: string
}

interface Waiting {
  readonly hold: Hold
  readonly disposition: Disposition
  readonly done: () => void
}

export interface SettlerOptions {
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

type Kind<Name extends Disposition['kind']> = Extract<Disposition, { kind: Name }>

/** Most settlements of one transaction. */
const MOST = 1000
/** Refused dead letters in a row after which the rest of them is not tried now. */
const MOST_REFUSALS = 3

/**
 * Records what became of deliveries: those that come while a transaction is under way share the
 * next one. Not flushed to the disk before it is answered: what a crash of the server undoes comes
 * again, as after any crash between handling and settling.
 */
export class Settler {
  readonly #connection: Connection
  readonly #queue: number
  readonly #options: SettlerOptions
  #waiting: Waiting[] = []
  #running = false
  /** While settlements fail. */
  #behind: PromiseWithResolvers<void> | undefined

  constructor(connection: Connection, queue: number, options: SettlerOptions) {
    this.#connection = connection
    this.#queue = queue
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
    await this.#persist(refused, (query) => this.#putAside(query, refused))
  }

  /**
   * Tries until it is recorded or given up. Returns why dead letters among them were refused; that
   * is no matter of the database as a whole, such as a missing grant.
   */
  async #persist(
    given: readonly Waiting[],
    record?: (query: Query) => Promise<readonly string[]>,
  ): Promise<{ readonly error: unknown } | undefined> {
    const { signal, stopping, failed, onNext } = this.#options
    let batch = given
    while (batch.length > 0 && !signal.aborted) {
      try {
        const all = batch
        onNext(
          await this.#connection.own.transaction(
            'settling messages',
            record ?? ((query) => this.#record(query, all)),
            { durable: false },
          ),
        )
        break
      } catch (error) {
        const burying =
          record === undefined && batch.some(({ disposition }) => disposition.kind === 'reject')
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

  /**
   * One statement per kind; a former holder changes nothing. Returns what comes next of the keys.
   */
  async #record(query: Query, batch: readonly Waiting[]): Promise<readonly string[]> {
    const { sql } = this.#connection
    const of = <Name extends Disposition['kind']>(kind: Name): Kind<Name>[] =>
      batch.flatMap(({ disposition }) =>
        disposition.kind === kind ? [disposition as Kind<Name>] : [],
      )
    const next: string[] = []
    const run = async (kind: Disposition['kind'], ...more: readonly unknown[][]): Promise<void> => {
      const holds = batch
        .filter(({ disposition }) => disposition.kind === kind)
        .map(({ hold }) => hold)
      if (holds.length === 0) return
      const values = [
        this.#queue,
        holds.map(({ position }) => position),
        holds.map(({ token }) => token),
        ...more,
      ]
      next.push(
        ...(await query<{ position: string }>(sql[kind], values)).rows.map(
          ({ position }) => position,
        ),
      )
    }
    const [retried, rejected] = [of('retry'), of('reject')]
    await run('ack')
    await run(
      'retry',
      retried.map(({ delayMs }) => delayOf(delayMs)),
      retried.map(({ postponedSince }) =>
        postponedSince === undefined ? null : Math.round(postponedSince),
      ),
    )
    await run('release')
    await run('reject', ...reasonsOf(rejected))
    return next
  }

  async #putAside(query: Query, refused: readonly Waiting[]): Promise<readonly string[]> {
    const rejected = refused.map(({ disposition }) => disposition as Kind<'reject'>)
    await query(this.#connection.sql.aside, [
      this.#queue,
      refused.map(({ hold }) => hold.position),
      refused.map(({ hold }) => hold.token),
      rejected.map(({ error }) => asideMs(asideText(error) !== undefined)),
      ...reasonsOf(rejected),
    ])
    return []
  }
}

function reasonsOf(rejected: readonly Kind<'reject'>[]): unknown[][] {
  return [
    rejected.map(({ reason }) => errorText(reason)),
    rejected.map(({ error }) => deadText(error)),
  ]
}
