import { connect as amqpConnect, type Channel, type ChannelModel } from 'amqplib'
import { MersalError } from '../../../core/errors/errors.ts'
import type { Logger } from '../../../core/telemetry.ts'
import { backoffMs } from '../../../lib/async/backoff.ts'
import { systemClock } from '../../../lib/async/clock.ts'
import { Mutex } from '../../../lib/async/mutex.ts'
import { type Describe, refusesLogin } from './address.ts'
import type { Connect, RabbitSettings } from '../options.ts'

/** Longest wait between two tries, so that work resumes within seconds of the broker's return. */
const backoff = { firstMs: 1500, longestMs: 3000 }
const SHORTEST_GAP_MS = 1000

/**
 * Spaces the tries of all links of one transport: one at a time, at most one a second after a
 * failure.
 */
export class Pace {
  readonly #mutex = new Mutex()
  #failures = 0
  #notBefore = 0

  /** Runs the try when it is its turn. */
  async run<Result>(attempt: () => Promise<Result>, signal: AbortSignal): Promise<Result> {
    return this.#mutex.run(async () => {
      await systemClock.sleep(this.#notBefore - systemClock.monotonic(), signal)
      signal.throwIfAborted()
      try {
        const result = await attempt()
        this.#failures = 0
        this.#notBefore = 0
        return result
      } catch (error) {
        this.slowDown()
        throw error
      }
    })
  }

  /** A try failed, or a connection was lost: the next one waits. */
  slowDown(): void {
    this.#failures++
    const wait = Math.max(backoffMs(backoff, this.#failures, Math.random), SHORTEST_GAP_MS)
    this.#notBefore = Math.max(this.#notBefore, systemClock.monotonic() + wait)
  }
}

/** So much may wait in the socket before amqplib holds messages back. */
const SOCKET_BYTES = 1024 * 1024

export function opener({ source, heartbeatSeconds, connectTimeoutMs }: RabbitSettings): Connect {
  if ('connect' in source) return source.connect
  // Nagle's algorithm would hold back small acknowledgements for 40 ms.
  const socket = {
    ...source.tls,
    noDelay: true,
    keepAlive: true,
    timeout: connectTimeoutMs,
    writableHighWaterMark: SOCKET_BYTES,
  }
  return () => amqpConnect({ ...source.address, heartbeat: heartbeatSeconds }, socket)
}

export interface LinkOptions {
  readonly purpose: string
  readonly open: Connect
  readonly pace: Pace
  readonly timeoutMs: number
  readonly describe: Describe
  readonly logger: Logger
}

interface Live {
  readonly model: ChannelModel
  readonly lost: AbortController
  blocked: boolean
}

/** A promise that other code resolves. */
type Signal = ReturnType<typeof Promise.withResolvers<void>>

/** The result of the promise, or a rejection with `MERSAL_UNAVAILABLE` after the time. */
export async function within<Result>(
  ms: number,
  what: string,
  promise: Promise<Result>,
): Promise<Result> {
  const late = Promise.withResolvers<never>()
  const timer = setTimeout(
    () =>
      late.reject(new MersalError('MERSAL_UNAVAILABLE', `${what} did not answer within ${ms} ms`)),
    ms,
  )
  try {
    return await Promise.race([promise, late.promise])
  } finally {
    clearTimeout(timer)
    promise.catch(() => {})
  }
}

interface Socket {
  readonly destroy?: () => void
  readonly writableLength?: number
}

/** amqplib shows its socket only so. */
function socketOf(model: ChannelModel): Socket | undefined {
  return (model.connection as { readonly stream?: Socket }).stream
}

/** Bytes that wait in the process, as far as the client shows them. */
export function bufferedIn(model: ChannelModel): number {
  return socketOf(model)?.writableLength ?? 0
}

/** Ends the socket even if the other side no longer answers; amqplib offers no call for this. */
function destroySocket(model: ChannelModel): void {
  socketOf(model)?.destroy?.()
}

/** Closes a channel that the broker may have closed already. */
export async function closeQuietly(channel: Channel): Promise<void> {
  try {
    await channel.close()
  } catch {
    // Closed already, which is what was wanted.
  }
}

/**
 * One connection that is made anew whenever it is lost, from the first use until it is disposed.
 */
export class Link implements AsyncDisposable {
  readonly #options: LinkOptions
  readonly #closing = new AbortController()
  #live: Live | undefined
  #connecting: Promise<Live> | undefined
  #lastError: MersalError | undefined
  #restoring = false
  /** Of the trouble that there is now. */
  #back: Signal = Promise.withResolvers()
  /** What the broker said when it refused the connection, so that the same is said once. */
  #refusal: string | undefined

  constructor(options: LinkOptions) {
    this.#options = options
  }

  /** The broker has stopped reading because of a memory or disk alarm. */
  get blocked(): boolean {
    return this.#live?.blocked ?? false
  }

  /**
   * Why there is no connection, once a try has failed and while the next one waits; else undefined.
   */
  get down(): MersalError | undefined {
    return this.#live === undefined ? this.#lastError : undefined
  }

  /** Resolves when there is a connection again and no alarm; undefined without trouble. */
  get back(): Promise<void> | undefined {
    return this.down !== undefined || this.blocked ? this.#back.promise : undefined
  }

  /**
   * The connection, and the signal that aborts when it is lost. Rejects when a try fails: with
   * `MERSAL_INVALID_OPTIONS` if the broker refused user, password or vhost, else with
   * `MERSAL_UNAVAILABLE`.
   */
  async connection(): Promise<{ readonly model: ChannelModel; readonly lost: AbortSignal }> {
    const live = this.#live ?? (await (this.#connecting ??= this.#connect()))
    return { model: live.model, lost: live.lost.signal }
  }

  /**
   * Runs the task on a channel of its own, for at most this long. Rejects with the client's error.
   */
  async withChannel<Result>(
    task: (channel: Channel) => Promise<Result>,
    timeoutMs: number = this.#options.timeoutMs,
  ): Promise<Result> {
    const { model } = await this.connection()
    const work = async (): Promise<Result> => {
      const channel = await model.createChannel()
      // The failed call carries the same error; without a listener it would be thrown a second
      // time.
      channel.on('error', () => {})
      try {
        return await task(channel)
      } finally {
        await closeQuietly(channel)
      }
    }
    return within(timeoutMs, 'the broker', work())
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new MersalError('MERSAL_UNAVAILABLE', 'the transport has been closed'))
    const live = this.#live
    if (live === undefined) return
    this.#live = undefined
    try {
      await within(Math.min(this.#options.timeoutMs, 2000), 'the broker', live.model.close())
    } catch {
      // It was lost already, or does not answer: then the socket is ended below.
    }
    live.lost.abort(this.#closing.signal.reason)
    destroySocket(live.model)
  }

  async #connect(): Promise<Live> {
    const { pace } = this.#options
    try {
      const model = await pace.run(() => this.#open(), this.#closing.signal)
      return this.#adopt(model)
    } catch (error) {
      if (this.#closing.signal.aborted) throw this.#closing.signal.reason
      this.#lastError = this.#failure(error)
      void this.#restore()
      throw this.#lastError
    } finally {
      this.#connecting = undefined
    }
  }

  /** Why a try failed. A refusal is a mistake that somebody has to mend, so it is said aloud. */
  #failure(error: unknown): MersalError {
    const { purpose, describe, logger } = this.#options
    const text = describe(error)
    if (!refusesLogin(error))
      return new MersalError(
        'MERSAL_UNAVAILABLE',
        `no connection to RabbitMQ for ${purpose}: ${text}`,
      )
    const field = 'rabbitmq.url'
    const refusal = new MersalError(
      'MERSAL_INVALID_OPTIONS',
      `${field}: RabbitMQ refuses the connection: ${text}`,
      { details: { field } },
    )
    if (this.#refusal !== text)
      logger.error(
        { purpose, error: text },
        'RabbitMQ refuses the connection; it is tried again until that is mended',
      )
    this.#refusal = text
    return refusal
  }

  async #open(): Promise<ChannelModel> {
    const opening = this.#options.open()
    try {
      return await within(this.#options.timeoutMs + 1000, 'the broker', opening)
    } catch (error) {
      void opening.then(destroySocket, () => {})
      throw error
    }
  }

  #adopt(model: ChannelModel): Live {
    const live: Live = { model, lost: new AbortController(), blocked: false }
    let problem: unknown
    model.on('error', (error: Error) => {
      problem = error
    })
    model.on('close', (error?: Error) => this.#lose(live, problem ?? error))
    model.on('blocked', (reason: string) => {
      live.blocked = true
      this.#options.logger.warn({ reason }, 'RabbitMQ has an alarm and takes no messages')
    })
    model.on('unblocked', () => {
      live.blocked = false
      this.#recovered()
      this.#options.logger.info({}, 'RabbitMQ takes messages again')
    })
    if (this.#closing.signal.aborted) {
      destroySocket(model)
      throw this.#closing.signal.reason
    }
    this.#live = live
    this.#lastError = undefined
    this.#refusal = undefined
    this.#recovered()
    return live
  }

  #recovered(): void {
    this.#back.resolve()
    this.#back = Promise.withResolvers()
  }

  #lose(live: Live, problem: unknown): void {
    destroySocket(live.model)
    if (this.#live !== live) return
    const { purpose, describe, logger, pace } = this.#options
    const text = problem === undefined ? 'it was closed' : describe(problem)
    this.#lastError = new MersalError(
      'MERSAL_UNAVAILABLE',
      `the connection to RabbitMQ for ${purpose} was lost: ${text}`,
    )
    this.#live = undefined
    logger.warn({ error: text }, this.#lastError.message)
    pace.slowDown()
    live.lost.abort(this.#lastError)
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
        this.#options.logger.info({}, `connected to RabbitMQ again for ${this.#options.purpose}`)
      } catch (error) {
        if (!this.#closing.signal.aborted)
          this.#options.logger.debug({ error }, 'still no connection to RabbitMQ')
      }
    }
    this.#restoring = false
  }
}
