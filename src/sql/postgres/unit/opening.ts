import { MersalError } from '../../../core/errors/errors.ts'
import { toError } from '../../../lib/async/abort.ts'
import { type ClientHook, hookOf, type UnitOnClient } from './client-hook.ts'
import { bareFlight, type Boarding, type Journey, newFlight } from './flight.ts'
import type { JoiningClient, Submittable } from './flight/client.ts'
import { Riders } from './flight/riders.ts'
import { Tags } from './tags.ts'
import { type Held, hold, isSubmittable, refuse, sendQuery, Waiting } from './flight/waiting.ts'
import { type Bound, bound, type Statement } from './flight/wire.ts'

/**
 * - `unsent`: no statement is on its way yet, so no transaction is open.
 * - `sent`: BEGIN and the first statement are on their way.
 * - `begun`: the server has begun the transaction.
 * - `failed`: it has not, and never will.
 */
type State = 'unsent' | 'sent' | 'begun' | 'failed'

/** A transaction whose BEGIN travels in the flight of its first statement, whoever sends that. */
export interface Opening extends Disposable {
  readonly state: State
  /** Why it failed. */
  readonly error: Error | undefined
  /** Resolves once no BEGIN is on its way. Nothing may be sent past the client before. */
  answered(): Promise<void>
  /**
   * Sends these statements, COMMIT being the last of them, in one flight: with BEGIN and the
   * statement that waits, if there is one. Call it once, when nothing is on its way. `bell` runs
   * behind COMMIT, outside of the transaction. Undefined: nothing was ever sent, so that there is
   * nothing to commit.
   */
  end(statements: readonly Bound[], bell?: Bound): Ending | undefined
}

/** The flight that ends a unit. */
export interface Ending {
  /** The answers. Rejects with the error of whatever did not run. */
  readonly riders: Promise<Riders>
  /** How far the server certainly came: `unsent`, and whatever did not run is rolled back. */
  reached(): 'unsent' | 'unbegun' | 'begun' | 'ran'
}

const unitEnded = (): MersalError =>
  new MersalError(
    'MERSAL_UNIT_ENDED',
    'postgres: the unit ended before this statement was sent: await it',
  )

/**
 * Takes what is given to `query` of this client until the server has begun the transaction. A
 * statement that comes while BEGIN is on its way waits for its answer: sent behind it, it would run
 * outside of any transaction if BEGIN fails. Once BEGIN has failed, every statement fails. Disposing
 * lets go of the client.
 */
export function openWithFirst(
  client: JoiningClient,
  begin: Statement,
  tags: Tags = new Tags(),
): Opening {
  return new FirstStatement(client, begin, tags)
}

class FirstStatement implements Opening, UnitOnClient, Journey {
  state: State = 'unsent'
  error: Error | undefined
  readonly #client: JoiningClient
  readonly #begin: Statement
  readonly #tags: Tags
  readonly #hook: ClientHook
  #held: Held[] = []
  #answered: PromiseWithResolvers<void> | undefined
  #waiting: Waiting | undefined
  #last: LastFlight | undefined
  #ready = false
  #over = false

  constructor(client: JoiningClient, begin: Statement, tags: Tags) {
    this.#client = client
    this.#begin = begin
    this.#tags = tags
    this.#hook = hookOf(client)
    this.#hook.unit = this
  }

  get pretends(): boolean {
    return !this.#ready
  }

  onReady(): void {
    if (this.state !== 'unsent') this.#ready = true
  }

  onTag(tag: string): void {
    this.#tags.note(tag)
  }

  async answered(): Promise<void> {
    if (this.state === 'sent') await (this.#answered ??= Promise.withResolvers()).promise
  }

  end(statements: readonly Bound[], bell?: Bound): Ending | undefined {
    const riders = new Riders(statements, this.#hook.prepared, bell)
    const last = new LastFlight(riders, this.state === 'begun')
    this.#last = last
    const waiting = this.#takeWaiting()
    if (waiting !== undefined && this.#endWith(waiting, last)) return last
    if (this.state === 'unsent' && statements.length === 1) return undefined
    const bare = bareFlight(this.#client, this, 'commit')
    last.query = bare
    const whole = sendQuery(bare, () => this.#hook.send(bare)) as Promise<unknown>
    // What is never sent is told here alone.
    whole.catch((error: unknown) => last.fail(toError(error)))
    return last
  }

  /**
   * Whether this statement carries the end. One whose client does not write it at once, since
   * somebody has wrapped that, comes after the end: nobody has awaited it.
   */
  #endWith({ query, promise, send }: Waiting, last: LastFlight): boolean {
    last.query = query
    send()
    if (!last.boarded) return false
    // The unit fails with its error, whoever has not awaited it.
    promise.catch((error: unknown) => last.fail(toError(error)))
    return true
  }

  [Symbol.dispose](): void {
    this.#over = true
    if (this.#hook.unit === this) this.#hook.unit = undefined
    const waiting = this.#takeWaiting()
    if (waiting === undefined && this.#held.length === 0) return
    const error = this.error ?? unitEnded()
    // Nobody has awaited it, and the unit has failed for another reason.
    waiting?.promise.catch(() => {})
    waiting?.fail(error)
    for (const { fail } of this.#held.splice(0)) fail(error)
  }

  take(given: unknown[]): unknown {
    this.#takeWaiting()?.send()
    switch (this.state) {
      case 'unsent':
        return this.#first(given)
      case 'sent':
        return hold(given, this.#client, this.#held, () => this.take(given))
      case 'begun':
        return this.#hook.send(...given)
      case 'failed':
        return refuse(given, this.#client, this.error ?? new Error('BEGIN failed'))
      default:
        return this.state satisfies never
    }
  }

  #first(given: unknown[]): unknown {
    const [config, values, callback] = given
    if (config === null || config === undefined) return this.#hook.send(...given)
    // A cursor, a stream, a COPY: nobody knows what it writes and which answers it takes for its own.
    if (isSubmittable(config)) return this.#behind(given)
    const query = newFlight(this.#client, this, config, values, callback)
    // Which the client reads from what it is given.
    const { query_timeout } = config as { query_timeout?: unknown }
    if (query_timeout !== undefined) Object.assign(query, { query_timeout })
    if (!mayWait(query)) return sendQuery(query, () => this.#hook.send(query))
    const waiting = new Waiting(query, this.#hook.send)
    this.#waiting = waiting
    // When all that is ready has run: if the work has ended by then, it travels with the commit.
    process.nextTick(() => this.#waiting === waiting && this.#takeWaiting()?.send())
    return waiting.promise
  }

  #takeWaiting(): Waiting | undefined {
    const waiting = this.#waiting
    this.#waiting = undefined
    return waiting
  }

  /** BEGIN goes alone; what was given follows its answer. */
  #behind(given: unknown[]): unknown {
    const result = hold(given, this.#client, this.#held, () => this.take(given))
    const alone = bareFlight(this.#client, this, 'begin')
    const begun = sendQuery(alone, () => this.#hook.send(alone)) as Promise<unknown>
    // What is never sent is told here alone.
    begun.catch((error: unknown) => this.failed(toError(error), 'before'))
    return result
  }

  /**
   * Whatever is written first carries BEGIN, which need not be what was asked for first: a client
   * whose `query` is wrapped may ask something of its own before, and waits for the answer to that.
   */
  board(flight: Submittable): Boarding | Error {
    const problem = this.#problem()
    if (problem !== undefined) return problem
    const after = this.#last?.query === flight ? this.#last.board() : undefined
    if (this.state === 'begun') return { before: undefined, after }
    this.state = 'sent'
    return { before: new Riders([bound(this.#begin)], this.#hook.prepared), after }
  }

  /** Why a statement must not be written now. */
  #problem(): Error | undefined {
    if (this.#over || this.#last?.boarded === true) return unitEnded()
    if (this.state === 'failed') return this.error ?? new Error('BEGIN failed')
    if (this.state !== 'sent') return undefined
    return new MersalError(
      'MERSAL_STORE_FAILED',
      'postgres: this statement would overtake the answer to BEGIN: await the one before it',
    )
  }

  begun(): void {
    if (this.#last !== undefined) this.#last.begun = true
    this.#settle('begun')
  }

  ended(): void {
    this.#last?.end()
  }

  failed(error: Error, when: 'unsent' | 'unbound' | 'before' | 'after'): void {
    if (when === 'before') this.error ??= error
    if (when === 'unsent' || when === 'before')
      this.#settle(when === 'unsent' ? 'unsent' : 'failed')
    this.#last?.told(error, when)
  }

  #settle(state: 'unsent' | 'begun' | 'failed'): void {
    // What fails for a second time, as a query does whose time is up, has failed.
    if (this.state !== 'sent') return
    this.state = state
    this.#answered?.resolve()
    this.#answered = undefined
    const { error } = this
    for (const { go, fail } of this.#held.splice(0)) {
      if (error === undefined) go()
      else fail(error)
    }
  }
}

/** Only what is sent with parameters, and in one piece, can have others travel behind it. */
function mayWait(query: Submittable & { readonly rows?: unknown }): boolean {
  return query.callback === undefined && !query.rows && query.requiresPreparation?.() === true
}

class LastFlight implements Ending {
  begun: boolean
  boarded = false
  query: Submittable | undefined
  readonly riders: Promise<Riders>
  readonly fail: (error: Error) => void
  readonly #riders: Riders
  readonly #resolve: (riders: Riders) => void
  /** Nothing behind the query was sent, for this reason. */
  #unsent: Error | undefined

  constructor(riders: Riders, begun: boolean) {
    const { promise, resolve, reject } = Promise.withResolvers<Riders>()
    this.begun = begun
    this.riders = promise
    this.fail = reject
    this.#riders = riders
    this.#resolve = resolve
  }

  board(): Riders {
    this.boarded = true
    return this.#riders
  }

  told(error: Error, when: 'unsent' | 'unbound' | 'before' | 'after'): void {
    if (!this.boarded) return
    if (when === 'unsent' || when === 'unbound') this.#unsent = error
    // What goes before it is still on its way.
    if (when !== 'unbound') this.fail(error)
  }

  end(): void {
    if (!this.boarded) return
    if (this.#unsent === undefined) this.#resolve(this.#riders)
    else this.fail(this.#unsent)
  }

  reached(): 'unsent' | 'unbegun' | 'begun' | 'ran' {
    if (this.#unsent !== undefined) return 'unsent'
    if (!this.begun) return 'unbegun'
    return this.#riders.left > 1 ? 'begun' : 'ran'
  }
}
