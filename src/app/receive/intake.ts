import { errorFields } from '../../core/errors/error-text.ts'
import { MersalError, isMersalError } from '../../core/errors/errors.ts'
import type { Logger } from '../../core/telemetry.ts'
import type { OnTrouble } from '../../core/transport.ts'
import { toError } from '../../lib/async/abort.ts'
import { type Backoff, backoffMs } from '../../lib/async/backoff.ts'
import type { Clock, Random } from '../../lib/async/clock.ts'

export interface IntakePorts {
  readonly app: string
  /** Name of the transport. */
  readonly transport: string
  readonly logger: Logger
  readonly clock: Clock
  readonly random: Random
  /** Declares the input queue and its subscriptions. Aborted: the app stops, and closes them. */
  readonly declare: (signal: AbortSignal) => Promise<void>
  /** Begins to receive. Undefined where nothing is received. */
  readonly consume: ((onTrouble: OnTrouble) => Promise<AsyncDisposable>) | undefined
}

/** Whether an app receives over a transport. */
export interface Reception {
  /** Name of the transport in the app. */
  readonly transport: string
  /** Why it does not receive. */
  readonly trouble: Error | undefined
  /** It has begun, so that the trouble came later. */
  readonly begun: boolean
}

const PAUSE: Backoff = { firstMs: 500, longestMs: 4000 }

/**
 * What an app receives over one transport. A broker that cannot be reached (`MERSAL_UNAVAILABLE`)
 * does not fail the start. The intake tries again until the broker is there, and everything else in
 * the app works meanwhile.
 */
export class Intake implements Reception, AsyncDisposable {
  readonly #ports: IntakePorts
  readonly #closing = new AbortController()
  #consumer: AsyncDisposable | undefined
  /** Why it has not begun. */
  #trouble: Error | undefined
  /** What its consumer has told. */
  #lost: Error | undefined
  /** Message of the last error that was logged. */
  #logged = ''

  constructor(ports: IntakePorts) {
    this.#ports = ports
  }

  get transport(): string {
    return this.#ports.transport
  }

  get trouble(): Error | undefined {
    return this.#trouble ?? this.#lost
  }

  get begun(): boolean {
    return this.#trouble === undefined
  }

  /**
   * The first try. Rejects with errors that waiting cannot fix: a queue with other properties, a
   * wrong password.
   */
  declare(): Promise<void> {
    return this.#unlessAway(() => this.#ports.declare(this.#closing.signal))
  }

  /** Begins to receive, now or as soon as the broker is there. Call it after `declare`. */
  async consume(): Promise<void> {
    if (this.#trouble === undefined) await this.#unlessAway(() => this.#receive())
    if (this.#trouble !== undefined) void this.#catchUp()
  }

  /** Ends receiving, and waits for deliveries that are being handled. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(
      new MersalError('MERSAL_APP_STOPPED', `the app '${this.#ports.app}' has been stopped`),
    )
    await this.#consumer?.[Symbol.asyncDispose]()
  }

  async #unlessAway(work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      // A stop has closed the transport in the middle of it: nothing is away.
      if (this.#closing.signal.aborted || !isMersalError(error, 'MERSAL_UNAVAILABLE')) throw error
      this.#trouble = error
      this.#logged = error.message
      this.#ports.logger.warn(
        this.#fields(error),
        'the broker cannot be reached; the app starts without it, messages wait in the outbox, and it begins to receive when the broker is there',
      )
    }
  }

  async #receive(): Promise<void> {
    const consumer = await this.#ports.consume?.((error) => (this.#lost = error))
    if (this.#closing.signal.aborted) await consumer?.[Symbol.asyncDispose]()
    else this.#consumer = consumer
  }

  async #catchUp(): Promise<void> {
    const { clock, random, logger, declare } = this.#ports
    const { signal } = this.#closing
    for (let failures = 1; !signal.aborted; failures++) {
      await clock.sleep(backoffMs(PAUSE, failures, random), signal)
      if (signal.aborted) return
      try {
        await declare(signal)
        await this.#receive()
        this.#trouble = undefined
        logger.info(
          { app: this.#ports.app, transport: this.#ports.transport },
          'the broker is there; the app receives',
        )
        return
      } catch (thrown) {
        this.#report(toError(thrown))
      }
    }
  }

  /**
   * Logs why the app cannot receive yet. No start waits for it any more, so an error that waiting
   * cannot fix is logged as an error, once.
   */
  #report(error: Error): void {
    const { logger } = this.#ports
    this.#trouble = error
    const news = error.message !== this.#logged && !this.#closing.signal.aborted
    this.#logged = error.message
    if (!news || isMersalError(error, 'MERSAL_UNAVAILABLE'))
      logger.debug(this.#fields(error), 'the app cannot receive yet')
    else
      logger.error(
        this.#fields(error),
        'the app cannot receive; it is tried again until that is fixed',
      )
  }

  #fields(error: Error): Readonly<Record<string, unknown>> {
    const { app, transport } = this.#ports
    return { app, transport, ...errorFields(error) }
  }
}
