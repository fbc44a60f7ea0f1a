import { AsyncLocalStorage } from 'node:async_hooks'
import { errorFields } from '../../core/errors/error-text.ts'
import { MersalError } from '../../core/errors/errors.ts'
import type { Logger } from '../../core/telemetry.ts'
import type { Clock } from '../../lib/async/clock.ts'
import { abortable, linkAbort } from '../../lib/async/linked-abort.ts'
import { withOwnSockets } from '../../lib/own-sockets.ts'
import type { Pace } from './pace.ts'
import { within } from './within.ts'

/** What a link is told about its connection. After `lost` nothing more counts. */
export interface ConnectionEvents {
  /** It is gone. `problem`: the error of the client, if there is one. */
  lost(problem: unknown): void
  /** The broker takes no messages for a while, and has not closed the connection. */
  blocked(reason: string): void
  unblocked(): void
}

/** The client library of a broker, as a link needs it. */
export interface BrokerClient<Connection> {
  /** A connection that works: whatever has to be checked has been. */
  open(): Promise<Connection>
  watch(connection: Connection, events: ConnectionEvents): void
  close(connection: Connection): Promise<unknown>
  /** Ends the socket, even if the other side no longer answers. */
  destroy(connection: Connection): void
  /**
   * If only a person can fix why a try failed, such as a wrong password: the error for `start()`.
   */
  mistakeIn(error: unknown): MersalError | undefined
}

export interface LinkOptions<Connection> {
  /** For texts, such as `RabbitMQ`. */
  readonly broker: string
  /** For texts, such as `publishing`. */
  readonly purpose: string
  readonly client: BrokerClient<Connection>
  readonly pace: Pace
  /** Longest wait for an answer, in milliseconds. */
  readonly timeoutMs: number
  /** Text of an error of the client that is safe to show. */
  readonly describe: (error: unknown) => string
  readonly logger: Logger
  readonly clock: Clock
}

/** A connection that works. */
export interface Live<Connection> {
  readonly connection: Connection
  /** Aborts when the connection is lost. */
  readonly lost: AbortSignal
}

interface Current<Connection> {
  readonly live: Live<Connection>
  readonly lose: (reason: unknown) => void
  blocked: boolean
  /** When it was opened, by the monotonic clock. */
  readonly since: number
}

const LONGEST_CLOSE_MS = 2000

/**
 * One connection that is made anew whenever it is lost, from the first use until it is disposed.
 */
export class Link<Connection> implements AsyncDisposable {
  readonly #options: LinkOptions<Connection>
  readonly #closing = new AbortController()
  /**
   * A connection calls back in the context in which it was opened. That of the request that happens
   * to need it first must not reach the deliveries of all others.
   */
  readonly #inOwnContext = AsyncLocalStorage.snapshot()
  #current: Current<Connection> | undefined
  #connecting: Promise<Live<Connection>> | undefined
  #lastError: MersalError | undefined
  #restoring = false
  /** Of the trouble that there is now. */
  #back = Promise.withResolvers<void>()
  /** The mistake that was logged last, so that the same is logged once. */
  #mistake: string | undefined

  constructor(options: LinkOptions<Connection>) {
    this.#options = options
  }

  get timeoutMs(): number {
    return this.#options.timeoutMs
  }

  /** The connection that there is at this moment. */
  get live(): Live<Connection> | undefined {
    return this.#current?.live
  }

  /** The broker takes no messages, although the connection works. */
  get blocked(): boolean {
    return this.#current?.blocked ?? false
  }

  /**
   * Why there is no connection, once a try has failed and while the next one waits; else undefined.
   */
  get down(): MersalError | undefined {
    return this.#current === undefined ? this.#lastError : undefined
  }

  /** Resolves when the broker takes messages again; undefined without trouble. */
  get back(): Promise<void> | undefined {
    return this.down !== undefined || this.blocked ? this.#back.promise : undefined
  }

  /**
   * Rejects when a try fails: with what `mistakeIn` says if only a person can fix it, else with
   * `MERSAL_UNAVAILABLE`.
   */
  async connection(): Promise<Live<Connection>> {
    return this.live ?? (await (this.#connecting ??= this.#inOwnContext(() => this.#connect())))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new MersalError('MERSAL_UNAVAILABLE', 'the transport has been closed'))
    const current = this.#current
    if (current === undefined) return
    this.#current = undefined
    const { client, clock, timeoutMs } = this.#options
    const { connection } = current.live
    try {
      const ms = Math.min(timeoutMs, LONGEST_CLOSE_MS)
      await within(clock, ms, 'the broker', client.close(connection))
    } catch {
      // It was lost already, or does not answer: then the socket is ended below.
    }
    current.lose(this.#closing.signal.reason)
    client.destroy(connection)
  }

  async #connect(): Promise<Live<Connection>> {
    const { signal } = this.#closing
    try {
      const connection = await this.#options.pace.run(() => this.#open(), signal)
      return this.#adopt(connection)
    } catch (error) {
      if (signal.aborted) throw signal.reason
      this.#lastError = this.#failure(error)
      void this.#restore()
      throw this.#lastError
    } finally {
      this.#connecting = undefined
    }
  }

  /** Why a try failed. A mistake has to be fixed by somebody, so it is logged as an error, once. */
  #failure(error: unknown): MersalError {
    const { broker, purpose, client, describe, logger } = this.#options
    const mistake = client.mistakeIn(error)
    if (mistake === undefined)
      return new MersalError(
        'MERSAL_UNAVAILABLE',
        `no connection to ${broker} for ${purpose}: ${describe(error)}`,
      )
    if (this.#mistake !== mistake.message)
      logger.error(
        { purpose, ...errorFields(mistake) },
        `${broker} refuses the connection; it is tried again until that is fixed`,
      )
    this.#mistake = mistake.message
    return mistake
  }

  async #open(): Promise<Connection> {
    const { client, clock, timeoutMs } = this.#options
    const givenUp = new AbortController()
    const closing = this.#closing.signal
    using over = linkAbort(closing, givenUp.signal)
    const opening = withOwnSockets(over.signal, () => client.open())
    try {
      const unlessClosed = abortable(closing, () => opening)
      return await within(clock, timeoutMs + 1000, 'the broker', unlessClosed)
    } catch (error) {
      givenUp.abort(error)
      void opening.then(
        (late) => client.destroy(late),
        () => {},
      )
      throw error
    }
  }

  #adopt(connection: Connection): Live<Connection> {
    const { broker, client, clock, logger } = this.#options
    const { signal } = this.#closing
    const lost = new AbortController()
    const current: Current<Connection> = {
      live: { connection, lost: lost.signal },
      lose: (reason) => lost.abort(reason),
      blocked: false,
      since: clock.monotonic(),
    }
    client.watch(connection, {
      lost: (problem) => this.#lose(current, problem),
      blocked: (reason) => {
        current.blocked = true
        logger.warn({ reason }, `${broker} has an alarm and takes no messages`)
      },
      unblocked: () => {
        current.blocked = false
        this.#recovered()
        logger.info({}, `${broker} takes messages again`)
      },
    })
    if (signal.aborted) {
      client.destroy(connection)
      throw signal.reason
    }
    this.#current = current
    this.#lastError = undefined
    this.#mistake = undefined
    this.#recovered()
    return current.live
  }

  #recovered(): void {
    this.#back.resolve()
    this.#back = Promise.withResolvers()
  }

  #lose(current: Current<Connection>, problem: unknown): void {
    const { broker, purpose, client, clock, describe, logger, pace } = this.#options
    client.destroy(current.live.connection)
    if (this.#current !== current) return
    const text = problem === undefined ? 'it was closed' : describe(problem)
    const error = `the connection to ${broker} for ${purpose} was lost: ${text}`
    this.#lastError = new MersalError('MERSAL_UNAVAILABLE', error)
    this.#current = undefined
    logger.warn(errorFields(this.#lastError), error)
    pace.lost(clock.monotonic() - current.since)
    current.lose(this.#lastError)
    void this.#restore()
  }

  /** Tries until it works, so that the next message finds a connection. */
  async #restore(): Promise<void> {
    if (this.#restoring) return
    this.#restoring = true
    const { broker, purpose, logger } = this.#options
    // The failed try that calls this is over only after its own clean-up.
    await Promise.resolve()
    while (this.#current === undefined && !this.#closing.signal.aborted) {
      try {
        await this.connection()
        logger.info({}, `connected to ${broker} again for ${purpose}`)
      } catch (error) {
        if (!this.#closing.signal.aborted)
          logger.debug(errorFields(error), `still no connection to ${broker}`)
      }
    }
    this.#restoring = false
  }
}
