import { errorText } from '../core/errors/error-text.ts'
import { MersalError } from '../core/errors/errors.ts'
import type { Logger } from '../core/telemetry.ts'
import { toError } from '../lib/async/abort.ts'
import type { Ending } from './runtime.ts'

export type AppState = 'idle' | 'starting' | 'running' | 'stopping' | 'stopped'

export interface LifecycleParts {
  readonly name: string
  readonly logger: Logger
  readonly stopGraceMs: number
  /** Starts everything; gives up when the signal aborts. */
  readonly begin: (signal: AbortSignal) => Promise<void>
  /** Stops whatever has been started. May be called again. */
  readonly end: (ending: Ending) => Promise<void>
}

/** Starts once, stops once, in whatever order and however often it is asked. */
export class Lifecycle {
  readonly #parts: LifecycleParts
  readonly #ending = new AbortController()
  #state: AppState = 'idle'
  #starting: Promise<void> | undefined
  #stopping: Promise<void> | undefined

  constructor(parts: LifecycleParts) {
    this.#parts = parts
  }

  get state(): AppState {
    return this.#state
  }

  /** Every call gets the result of the first one; after `stop` it throws `MERSAL_APP_STOPPED`. */
  start(signal?: AbortSignal): Promise<void> {
    if (this.#state === 'stopping' || this.#state === 'stopped')
      return Promise.reject(appStopped(this.#parts.name, 'start()'))
    this.#starting ??= this.#start(signal)
    return this.#starting
  }

  /** Every call gets the result of the first one. */
  stop(ending: Ending = { graceMs: this.#parts.stopGraceMs }): Promise<void> {
    this.#stopping ??= this.#stop(ending)
    return this.#stopping
  }

  async #start(signal: AbortSignal | undefined): Promise<void> {
    this.#state = 'starting'
    const cancel = (): void => this.#ending.abort(signal?.reason)
    try {
      signal?.throwIfAborted()
      signal?.addEventListener('abort', cancel, { once: true })
      await this.#parts.begin(this.#ending.signal)
      this.#ending.signal.throwIfAborted()
    } catch (error) {
      await this.#cleanUp()
      throw error
    } finally {
      signal?.removeEventListener('abort', cancel)
    }
    this.#state = 'running'
    // The signal may outlive the app, so it must not hold on to it.
    signal?.addEventListener('abort', () => this.#stopBehind(), {
      once: true,
      signal: this.#ending.signal,
    })
  }

  async #stop(ending: Ending): Promise<void> {
    const begun = this.#starting
    if (this.#state !== 'stopped') this.#state = 'stopping'
    this.#ending.abort(appStopped(this.#parts.name, 'start()'))
    try {
      await begun?.catch(() => {}) // whoever called start() hears of it
      await this.#parts.end(ending)
    } finally {
      this.#state = 'stopped'
    }
  }

  /**
   * A start that failed leaves nothing behind; what goes wrong here must not hide why it failed.
   */
  async #cleanUp(): Promise<void> {
    try {
      await this.#parts.end({ graceMs: 0 })
    } catch (error) {
      this.#log(error, 'cleaning up after a failed start')
    }
    this.#state = 'stopped'
  }

  /** Stops because the signal of `start` aborted: nobody waits, so failures are logged. */
  #stopBehind(): void {
    this.stop().catch((error: unknown) => this.#log(error, 'stopping'))
  }

  #log(error: unknown, what: string): void {
    this.#parts.logger.error(
      { app: this.#parts.name, error: errorText(toError(error)) },
      `${what} failed`,
    )
  }
}

export function appStopped(app: string, call: string): MersalError {
  return new MersalError(
    'MERSAL_APP_STOPPED',
    `${call}: the app '${app}' has been stopped; make a new one`,
  )
}
