import { errorText } from '../core/errors/error-text.ts'
import { MersalError, isMersalError } from '../core/errors/errors.ts'
import { checkNumber, checkOptions, checkShape, invalidOption } from '../core/options.ts'
import type { Mersal } from './mersal.ts'

type StopSignal = 'SIGTERM' | 'SIGINT'

/** Options of `runUntilSignal()` and `stopOnSignals()`. */
export interface SignalOptions {
  /** Which signals stop the app. Default SIGTERM and SIGINT. */
  readonly signals?: readonly StopSignal[]
  /**
   * How long `stop()` may take, in milliseconds. From 0 to an hour. Default: the option
   * `stopGraceMs` of the app.
   */
  readonly graceMs?: number
  /** For tests. Default: the process. */
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

/** What `stop()` is told. */
interface Ending {
  readonly graceMs?: number
}

const endingOf = ({ graceMs }: SignalOptions): Ending => (graceMs === undefined ? {} : { graceMs })

/** Throws `MERSAL_INVALID_OPTIONS` on anything else than documented. */
function checkSignalOptions(call: string, given: SignalOptions): void {
  checkOptions(call, given, ['signals', 'graceMs', 'host', 'report'])
  const {
    signals = [],
    host,
    report,
  } = given as { readonly [Name in keyof SignalOptions]: unknown }
  if (!Array.isArray(signals) || signals.some((name) => !Object.hasOwn(numbers, name as string)))
    throw invalidOption(`${call}.signals`, "expected an array of 'SIGTERM' and 'SIGINT'")
  checkNumber(`${call}.graceMs`, given.graceMs, { default: 0, min: 0, max: 3_600_000 })
  if (host !== undefined) checkShape(`${call}.host`, host, ['on', 'off', 'exit'])
  if (report !== undefined && typeof report !== 'function')
    throw invalidOption(`${call}.report`, 'expected a function')
}

type Stoppable = Pick<Mersal<never>, 'start' | 'stop'>

function appsOf<App>(call: string, given: App | readonly App[]): readonly App[] {
  const apps = Array.isArray(given) ? (given as readonly App[]) : [given as App]
  if (apps.length === 0)
    throw new MersalError('MERSAL_INVALID_OPTIONS', `${call}: expected an app, got an empty list`)
  return apps
}

/** Starts all at once. If one fails, the others are stopped, and its error is thrown. */
async function startAll(
  apps: readonly Stoppable[],
  ending: Ending,
  report: (text: string) => void,
): Promise<void> {
  try {
    await Promise.all(apps.map(async (app) => app.start()))
  } catch (error) {
    await stopAll(apps, ending, report)
    throw error
  }
}

/** Stops all at once, and reports each failure. Returns whether there was none. */
async function stopAll(
  apps: readonly Pick<Stoppable, 'stop'>[],
  ending: Ending,
  report: (text: string) => void,
): Promise<boolean> {
  const stops = await Promise.allSettled(apps.map(async (app) => app.stop(ending)))
  const failed = stops.filter((stop) => stop.status === 'rejected')
  for (const { reason } of failed) report(errorText(reason))
  return failed.length === 0
}

/**
 * Starts the app, or several, waits for a signal, then stops them gracefully, all at once. Sets the
 * exit code and resolves to it: 0 after a graceful stop, 1 if the grace period was not enough or
 * stopping failed. A second signal ends the process at once with 128 + its number. Throws the error
 * of `start()`, unless a signal came first; of several apps the others are stopped before that.
 */
export async function runUntilSignal(
  app: Stoppable | readonly Stoppable[],
  options: SignalOptions = {},
): Promise<number> {
  const apps = appsOf('runUntilSignal()', app)
  checkSignalOptions('runUntilSignal()', options)
  using stopping = stopOnSignals(apps, options)
  try {
    await startAll(apps, endingOf(options), options.report ?? toStderr)
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
 * Stops the app, or several, when a signal comes, as `runUntilSignal` does, but does not start it.
 * Disposing removes the listeners.
 */
export function stopOnSignals(
  app: Pick<Stoppable, 'stop'> | readonly Pick<Stoppable, 'stop'>[],
  options: SignalOptions = {},
): SignalStop {
  const apps = appsOf('stopOnSignals()', app)
  checkSignalOptions('stopOnSignals()', options)
  const { signals = ['SIGTERM', 'SIGINT'], host = process, report = toStderr } = options
  const { promise, resolve } = Promise.withResolvers<number>()
  let asked = false
  const stop = async (): Promise<void> => {
    const code = (await stopAll(apps, endingOf(options), report)) ? 0 : 1
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
