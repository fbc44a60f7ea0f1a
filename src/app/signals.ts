import { errorText } from '../core/errors/error-text.ts'
import { isMersalError } from '../core/errors/errors.ts'
import type { Mersal } from './mersal.ts'

type StopSignal = 'SIGTERM' | 'SIGINT'

export interface SignalOptions {
  /** Default SIGTERM and SIGINT. */
  readonly signals?: readonly StopSignal[]
  /** How long `stop()` may take, in milliseconds. Default: the option `stopGraceMs` of the app. */
  readonly graceMs?: number
  /** For tests: the process. */
  readonly host?: SignalHost
  /** Gets the error text of a stop that failed. Default: a line on standard error. */
  readonly report?: (text: string) => void
}

/** The part of `process` that is used. */
export interface SignalHost {
  on(signal: StopSignal, listener: () => void): unknown
  off(signal: StopSignal, listener: () => void): unknown
  exit(code: number): void
  exitCode?: number | string | null | undefined
}

function toStderr(text: string): void {
  process.stderr.write(`${text}\n`)
}

const numbers: Readonly<Record<StopSignal, number>> = { SIGINT: 2, SIGTERM: 15 }

type Stoppable = Pick<Mersal<never>, 'start' | 'stop'>

/**
 * Starts the app, waits for a signal, then stops the app gracefully. Sets the exit code and
 * resolves to it: 0 after a graceful stop, 1 if the grace period was not enough or stopping failed.
 * A second signal ends the process at once with 128 + its number. Throws the error of `start()`,
 * unless a signal came first.
 */
export async function runUntilSignal(app: Stoppable, options: SignalOptions = {}): Promise<number> {
  using stopping = stopOnSignals(app, options)
  try {
    await app.start()
  } catch (error) {
    // A signal that came during the start has stopped the app, which is no failure of the start.
    if (!stopping.asked || !isMersalError(error, 'MERSAL_APP_STOPPED')) throw error
  }
  return await stopping.stopped
}

export interface SignalStop extends Disposable {
  /** Resolves to the exit code after a signal has come and the app has stopped. */
  readonly stopped: Promise<number>
  /** True once a signal has come. */
  readonly asked: boolean
}

/**
 * Stops the app when a signal comes, as `runUntilSignal` does, but does not start it. Disposing
 * removes the listeners.
 */
export function stopOnSignals(
  app: Pick<Stoppable, 'stop'>,
  options: SignalOptions = {},
): SignalStop {
  const { signals = ['SIGTERM', 'SIGINT'], host = process, graceMs, report = toStderr } = options
  const { promise, resolve } = Promise.withResolvers<number>()
  let asked = false
  const stop = async (): Promise<void> => {
    let code = 0
    try {
      await app.stop(graceMs === undefined ? {} : { graceMs })
    } catch (error) {
      code = 1
      report(errorText(error))
    }
    host.exitCode = code
    resolve(code)
  }
  const listeners = signals.map((signal) => {
    const listener = (): void => {
      if (asked) return host.exit(128 + numbers[signal])
      asked = true
      void stop()
    }
    host.on(signal, listener)
    return { signal, listener }
  })
  return {
    stopped: promise,
    get asked() {
      return asked
    },
    [Symbol.dispose]: () => {
      for (const { signal, listener } of listeners) host.off(signal, listener)
    },
  }
}
