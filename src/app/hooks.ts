import { errorFields } from '../core/errors/error-text.ts'
import { MersalError } from '../core/errors/errors.ts'
import { toError } from '../lib/async/abort.ts'
import { abortable } from '../lib/async/linked-abort.ts'
import { fulfilledWithin } from '../lib/async/within.ts'
import type { Settings } from './settings/settings.ts'
import type { LifecycleHook } from './types.ts'

type HookSettings = Pick<Settings<never>, 'name' | 'logger' | 'clock' | 'onStart' | 'onStop'>

/** Runs the hooks one after the other. Throws the error of the first one that fails. */
export async function runStartHooks(
  { onStart }: Pick<HookSettings, 'onStart'>,
  signal: AbortSignal,
): Promise<void> {
  for (const hook of onStart) await abortable(signal, async () => void (await hook({ signal })))
}

/**
 * Runs all hooks one after the other, and waits for them as long as is said. Resolves to the first
 * error; each one is logged.
 */
export async function runStopHooks(
  settings: HookSettings,
  withinMs: number,
): Promise<Error | undefined> {
  const { name: app, logger, clock, onStop } = settings
  if (onStop.length === 0) return undefined
  const waiting = new AbortController()
  const errors: Error[] = []
  const all = (async () => {
    for (const hook of onStop) await runLogged(hook, waiting.signal, { app, logger, errors })
  })()
  if (await fulfilledWithin(clock, withinMs, all)) return errors[0]
  const late = new MersalError(
    'MERSAL_STOP_TIMEOUT',
    `the app '${app}' is closed, but a hook in onStop was still at work: raise stopGraceMs`,
  )
  waiting.abort(late)
  return errors[0] ?? late
}

async function runLogged(
  hook: LifecycleHook,
  signal: AbortSignal,
  to: Pick<HookSettings, 'logger'> & { readonly app: string; readonly errors: Error[] },
): Promise<void> {
  try {
    await hook({ signal })
  } catch (error) {
    to.errors.push(toError(error))
    to.logger.error({ app: to.app, ...errorFields(error) }, 'a hook in onStop failed')
  }
}
