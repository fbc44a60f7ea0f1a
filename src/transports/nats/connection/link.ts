import { jetstreamManager, type JetStreamManager } from '@nats-io/jetstream'
import { connect as natsConnect, type NatsConnection } from '@nats-io/transport-node'
import { errorFields } from '../../../core/errors/error-text.ts'
import { MersalError } from '../../../core/errors/errors.ts'
import { backoffMs } from '../../../lib/async/backoff.ts'
import { systemClock } from '../../../lib/async/clock.ts'
import { fulfilledWithin } from '../../../lib/async/within.ts'
import type { Describe } from './address.ts'
import { checkServer, mistakeOf } from './faults.ts'
import type { Connect, NatsSettings } from '../options.ts'

/** Longest wait between two tries, so that work resumes within seconds of the server's return. */
const backoff = { firstMs: 1500, longestMs: 3000 }
const SHORTEST_GAP_MS = 1000
const CLOSE_MS = 2000

/** A connection that works. */
export interface Live {
  readonly connection: NatsConnection
  readonly manager: JetStreamManager
  /** Aborts when the connection is lost. */
  readonly lost: AbortSignal
}

export function opener({ source, heartbeatSeconds, connectTimeoutMs }: NatsSettings): Connect {
  if ('connect' in source) return source.connect
  const { address, tls } = source
  const wanted = tls ?? (address.secure ? {} : undefined)
  return () =>
    natsConnect({
      servers: [...address.servers],
      ...address.login,
      ...(wanted === undefined ? {} : { tls: wanted }),
      name: 'mersal',
      // Connecting again, at our pace and with the same checks, is up to the link.
      reconnect: false,
      timeout: connectTimeoutMs,
      pingInterval: heartbeatSeconds * 1000,
      maxPingOut: 2,
      noAsyncTraces: true,
    })
}

/** One connection that is made anew whenever it is lost, from the first use until it is disposed. */
export class Link implements AsyncDisposable {
  readonly #open: Connect
  readonly #settings: NatsSettings
  readonly #describe: Describe
  readonly #closing = new AbortController()
  #live: { readonly live: Live; readonly lost: AbortController } | undefined
  #connecting: Promise<Live> | undefined
  #lastError: MersalError | undefined
  #failures = 0
  #notBefore = 0
  #restoring = false
  #back = Promise.withResolvers<void>()
  /** The mistake that was said last, so that the same is said once. */
  #mistake = ''

  constructor(settings: NatsSettings, describe: Describe) {
    this.#open = opener(settings)
    this.#settings = settings
    this.#describe = describe
  }

  /** Why there is no connection, once a try has failed and while the next one waits. */
  get down(): MersalError | undefined {
    return this.#live === undefined ? this.#lastError : undefined
  }

  /** Resolves when there is a connection again; undefined without trouble. */
  get back(): Promise<void> | undefined {
    return this.down === undefined ? undefined : this.#back.promise
  }

  /** The connection that there is at this moment. */
  get live(): Live | undefined {
    return this.#live?.live
  }

  /**
   * Rejects when a try fails: with `MERSAL_INVALID_OPTIONS` if only a person can fix it, else with
   * `MERSAL_UNAVAILABLE`.
   */
  async connection(): Promise<Live> {
    return this.live ?? (this.#connecting ??= this.#connect())
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const reason = new MersalError('MERSAL_UNAVAILABLE', 'the transport has been closed')
    this.#closing.abort(reason)
    const current = this.#live
    this.#live = undefined
    this.#lastError = reason
    if (current === undefined) return
    current.lost.abort(reason)
    await fulfilledWithin(systemClock, CLOSE_MS, current.live.connection.close())
  }

  async #connect(): Promise<Live> {
    const { signal } = this.#closing
    try {
      await systemClock.sleep(this.#notBefore - systemClock.monotonic(), signal)
      signal.throwIfAborted()
      return await this.#adopt(await this.#open())
    } catch (error) {
      if (signal.aborted) throw signal.reason
      this.#slowDown()
      this.#lastError = this.#failure(error)
      void this.#restore()
      throw this.#lastError
    } finally {
      this.#connecting = undefined
    }
  }

  #failure(error: unknown): MersalError {
    const mistake = mistakeOf(error, this.#describe)
    if (mistake === undefined)
      return new MersalError(
        'MERSAL_UNAVAILABLE',
        `no connection to NATS: ${this.#describe(error)}`,
      )
    if (this.#mistake !== mistake.message)
      this.#settings.logger.error(
        errorFields(mistake),
        'NATS cannot be used; it is tried again until that is fixed',
      )
    this.#mistake = mistake.message
    return mistake
  }

  async #adopt(connection: NatsConnection): Promise<Live> {
    const timeout = this.#settings.connectTimeoutMs
    let manager: JetStreamManager
    try {
      checkServer(connection)
      manager = await jetstreamManager(connection, { timeout })
      this.#closing.signal.throwIfAborted()
    } catch (error) {
      void connection.close()
      throw error
    }
    const lost = new AbortController()
    const live: Live = { connection, manager, lost: lost.signal }
    this.#live = { live, lost }
    void connection.closed().then((error) => this.#lose(live, error))
    this.#failures = 0
    this.#lastError = undefined
    this.#mistake = ''
    this.#back.resolve()
    this.#back = Promise.withResolvers()
    return live
  }

  #slowDown(): void {
    this.#failures++
    const wait = Math.max(backoffMs(backoff, this.#failures, Math.random), SHORTEST_GAP_MS)
    this.#notBefore = Math.max(this.#notBefore, systemClock.monotonic() + wait)
  }

  #lose(live: Live, problem: unknown): void {
    const current = this.#live
    if (current?.live !== live) return
    const text = problem === undefined ? 'it was closed' : this.#describe(problem)
    this.#lastError = new MersalError(
      'MERSAL_UNAVAILABLE',
      `the connection to NATS was lost: ${text}`,
    )
    this.#live = undefined
    this.#settings.logger.warn(errorFields(this.#lastError), 'the connection to NATS was lost')
    this.#slowDown()
    current.lost.abort(this.#lastError)
    void this.#restore()
  }

  /** Tries until it works, so that the next message finds a connection. */
  async #restore(): Promise<void> {
    if (this.#restoring) return
    this.#restoring = true
    // The failed try that calls this is over only after its own clean-up.
    await Promise.resolve()
    while (this.#live === undefined && !this.#closing.signal.aborted) {
      try {
        await this.connection()
        this.#settings.logger.info({}, 'connected to NATS again')
      } catch (error) {
        if (!this.#closing.signal.aborted)
          this.#settings.logger.debug(errorFields(error), 'still no connection to NATS')
      }
    }
    this.#restoring = false
  }
}
