import { MersalError } from '../../../core/errors/errors.ts'
import { toError } from '../../../lib/async/abort.ts'
import { join, type JoiningClient, type Submittable } from './flight.ts'

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
}

/** A statement that came while BEGIN was on its way. */
interface Held {
  readonly go: () => void
  readonly fail: (error: Error) => void
}

const unitEnded = (): MersalError =>
  new MersalError(
    'MERSAL_UNIT_ENDED',
    'postgres: the unit ended before this statement was sent: await it',
  )

/**
 * Takes the place of `query` on this client until the server has begun the transaction. A statement
 * that comes while BEGIN is on its way waits for its answer: sent behind it, it would run outside
 * of any transaction if BEGIN fails. Once BEGIN has failed, every statement fails. Disposing gives
 * the client back as it was.
 */
export function openWithFirst(client: JoiningClient, begin: string): Opening {
  return new FirstStatement(client, begin)
}

/**
 * In the order in which they are put back: what was added last goes first, which keeps an object
 * fast in V8.
 */
const changed = ['getTransactionStatus', 'query']

class FirstStatement implements Opening {
  state: State = 'unsent'
  error: Error | undefined
  readonly #client: JoiningClient
  readonly #begin: string
  readonly #query: JoiningClient['query']
  readonly #restore: () => void
  #held: Held[] = []
  #answered: PromiseWithResolvers<void> | undefined
  #over = false

  constructor(client: JoiningClient, begin: string) {
    this.#client = client
    this.#begin = begin
    const own = changed.map(
      (name) => [name, Object.getOwnPropertyDescriptor(client, name)] as const,
    )
    const status = client.getTransactionStatus.bind(client)
    this.#query = client.query.bind(client)
    let ready = false
    client.query = (...given) => this.#take(given)
    client.getTransactionStatus = () => {
      const said = status()
      return said === 'I' && !ready ? 'T' : said
    }
    this.#restore = () => {
      if (ready) return
      ready = true
      for (const [name, descriptor] of own) putBack(client, name, descriptor)
    }
  }

  async answered(): Promise<void> {
    if (this.state === 'sent') await (this.#answered ??= Promise.withResolvers()).promise
  }

  [Symbol.dispose](): void {
    this.#over = true
    this.#restore()
    if (this.#held.length === 0) return
    const error = this.error ?? unitEnded()
    for (const { fail } of this.#held.splice(0)) fail(error)
  }

  #take(given: unknown[]): unknown {
    if (this.state === 'unsent') return this.#first(given)
    if (this.state === 'sent') return hold(given, this.#client, this.#held, () => this.#take(given))
    return this.state === 'begun' ? this.#query(...given) : this.#refuse(given)
  }

  #refuse(given: unknown[]): unknown {
    return refuse(given, this.#client, this.error ?? new Error('BEGIN failed'))
  }

  #first(given: unknown[]): unknown {
    const [config, values, callback] = given
    if (config === null || config === undefined) return this.#query(...given)
    if (isSubmittable(config)) {
      // A cursor, a stream, a COPY: nobody knows what it writes and which answers it takes for its
      // own.
      if (!(config instanceof this.#client.constructor.Query)) return this.#behind(given)
      this.#joinTo(config)
      return this.#query(...given)
    }
    const query = new this.#client.constructor.Query(config, values, callback)
    // Which the client reads from what it is given.
    const { query_timeout } = config as { query_timeout?: unknown }
    if (query_timeout !== undefined) Object.assign(query, { query_timeout })
    this.#joinTo(query)
    return sendQuery(query, () => this.#query(query))
  }

  /** BEGIN goes alone; what was given follows its answer. */
  #behind(given: unknown[]): unknown {
    const result = hold(given, this.#client, this.#held, () => this.#take(given))
    this.state = 'sent'
    const begun = this.#query(this.#begin) as Promise<unknown>
    begun.then(
      () => {
        this.#restore()
        this.#settle('begun')
      },
      (error: unknown) => {
        this.error = toError(error)
        this.#settle('failed')
      },
    )
    return result
  }

  /**
   * Whatever is written first carries BEGIN, which need not be what was asked for first: a client
   * whose `query` is wrapped may ask something of its own before, and waits for the answer to that.
   */
  #joinTo(query: Submittable): void {
    const submit = query.submit.bind(query)
    query.submit = (wire) => {
      query.submit = submit
      const problem = this.#problem()
      if (problem !== undefined) return problem
      if (this.state === 'unsent') this.#carry(query)
      return query.submit(wire)
    }
  }

  /** Why a statement must not be written now. */
  #problem(): Error | undefined {
    if (this.#over) return unitEnded()
    if (this.state === 'failed') return this.error ?? new Error('BEGIN failed')
    if (this.state !== 'sent') return undefined
    return new MersalError(
      'MERSAL_STORE_FAILED',
      'postgres: this statement would overtake the answer to BEGIN: await the one before it',
    )
  }

  #carry(query: Submittable): void {
    this.state = 'sent'
    join(query, {
      before: this.#begin,
      begun: () => this.#settle('begun'),
      ready: () => this.#restore(),
      failed: (error, when) => {
        if (when === 'before') this.error = error
        if (when === 'after') this.#client.connection.once('readyForQuery', () => this.#restore())
        else this.#settle(when === 'before' ? 'failed' : 'unsent')
      },
    })
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

function putBack(target: object, name: string, own: PropertyDescriptor | undefined): void {
  if (own === undefined) Reflect.deleteProperty(target, name)
  else Object.defineProperty(target, name, own)
}

const isSubmittable = (config: unknown): config is Submittable =>
  typeof (config as Partial<Submittable>).submit === 'function'

/** Sends a query of our making; a promise unless it has a callback. */
export function sendQuery(query: Submittable, send: () => unknown): unknown {
  if (query.callback !== undefined) return void send()
  const { promise, resolve, reject } = Promise.withResolvers()
  query.callback = (error, result) => (error ? reject(error) : resolve(result))
  send()
  return promise.catch((error: unknown) => {
    // As pg does: the stack shall lead to whoever sent the query, not to the socket.
    if (error instanceof Error) Error.captureStackTrace(error)
    throw error
  })
}

/** Answers as `query` of a client does, with an error, to what is never sent. */
export function refuse(given: unknown[], client: JoiningClient, error: Error): unknown {
  const held: Held[] = []
  const result = hold(given, client, held, () => undefined)
  process.nextTick(() => held[0]?.fail(error))
  return result
}

/** Answers as `query` of a client does, now, to what is sent later. */
function hold(given: unknown[], client: JoiningClient, held: Held[], send: () => unknown): unknown {
  const [config] = given
  const callback =
    given.find((one) => typeof one === 'function') ??
    (config as { callback?: unknown } | undefined)?.callback
  if (config !== null && config !== undefined && isSubmittable(config)) {
    held.push({
      go: () => void send(),
      fail: (error) => config.handleError(error, client.connection),
    })
    return config
  }
  if (typeof callback === 'function') {
    held.push({ go: () => void send(), fail: (error) => void callback(error) })
    return undefined
  }
  const { promise, resolve, reject } = Promise.withResolvers()
  held.push({ go: () => resolve(send()), fail: reject })
  return promise
}
