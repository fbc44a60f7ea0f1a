import { errorFields } from '../core/errors/error-text.ts'
import { MersalError } from '../core/errors/errors.ts'
import type { Logger } from '../core/telemetry.ts'

export type AppState = 'idle' | 'starting' | 'running' | 'stopping' | 'stopped'

/** How an app is to be stopped. */
export interface Ending {
  readonly graceMs: number
  /** Removes the input queue after its consumers have ended, if it is empty. */
  readonly removeQueue?: boolean
}

/** What is started and stopped. */
export interface Startable {
  /** Starts everything. Gives up when the signal aborts. */
  begin(signal: AbortSignal): Promise<void>
  /** Stops whatever has been started. May be called again. */
  end(ending: Ending): Promise<void>
}

interface LifecycleOptions {
  /** Name of the app. */
  readonly name: string
  readonly logger: Logger
  readonly stopGraceMs: number
}

/** Starts an app once and stops it once, in any order and however often it is asked. */
export class Lifecycle {
  readonly #options: LifecycleOptions
  readonly #runtime: Startable
  readonly #ending = new AbortController()
  #state: AppState = 'idle'
  #starting: Promise<void> | undefined
  #stopping: Promise<void> | undefined

  constructor(options: LifecycleOptions, runtime: Startable) {
    this.#options = options
    this.#runtime = runtime
  }

  get state(): AppState {
    return this.#state
  }

  /** Every call gets the result of the first one. After `stop` it throws `MERSAL_APP_STOPPED`. */
  start(signal?: AbortSignal): Promise<void> {
    if (this.#state === 'stopping' || this.#state === 'stopped')
      return Promise.reject(appStopped(this.#options.name, 'start()'))
    this.#starting ??= this.#start(signal)
    return this.#starting
  }

  /** Every call gets the result of the first one. */
  stop(ending: Ending = { graceMs: this.#options.stopGraceMs }): Promise<void> {
    this.#stopping ??= this.#stop(ending)
    return this.#stopping
  }

  async #start(signal: AbortSignal | undefined): Promise<void> {
    this.#state = 'starting'
    const cancel = (): void => this.#ending.abort(signal?.reason)
    try {
      signal?.throwIfAborted()
      signal?.addEventListener('abort', cancel, { once: true })
      await this.#runtime.begin(this.#ending.signal)
      this.#ending.signal.throwIfAborted()
    } catch (error) {
      await this.#cleanUp()
      throw error
    } finally {
      signal?.removeEventListener('abort', cancel)
    }
    this.#state = 'running'
    // The signal may live longer than the app, so it must not keep the app in memory.
    signal?.addEventListener('abort', () => this.#stopBehind(), {
      once: true,
      signal: this.#ending.signal,
    })
  }

  async #stop(ending: Ending): Promise<void> {
    const begun = this.#starting
    if (this.#state !== 'stopped') this.#state = 'stopping'
    this.#ending.abort(appStopped(this.#options.name, 'start()'))
    try {
      await begun?.catch(() => {}) // its caller gets this error
      await this.#runtime.end(ending)
    } finally {
      this.#state = 'stopped'
    }
  }

  /** Leaves nothing behind. An error here must not hide the error of the start, so it is logged. */
  async #cleanUp(): Promise<void> {
    try {
      await this.#runtime.end({ graceMs: 0 })
    } catch (error) {
      this.#log(error, 'cleaning up after a failed start')
    }
    this.#state = 'stopped'
  }

  /** Stops because the signal of `start` aborted. Nobody waits, so failures are logged. */
  #stopBehind(): void {
    this.stop().catch((error: unknown) => this.#log(error, 'stopping'))
  }

  #log(error: unknown, what: string): void {
    const { name: app, logger } = this.#options
    logger.error({ app, ...errorFields(error) }, `${what} failed`)
  }
}

export function appStopped(app: string, call: string): MersalError {
  return new MersalError(
    'MERSAL_APP_STOPPED',
    `${call}: the app '${app}' has been stopped; make a new one`,
  )
}
