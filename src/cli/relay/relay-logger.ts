import type { Logger } from '../../core/telemetry.ts'
import { loggable } from '../../core/errors/error-text.ts'
import type { Output } from '../output.ts'

/** JSON lines on standard error: information, warnings, errors; with `verbose` also the rest. */
export function relayLogger(out: Output, verbose: boolean): Logger {
  const at =
    (level: string) =>
    (fields: Readonly<Record<string, unknown>>, message: string): void => {
      const shown = Object.fromEntries(
        Object.entries(fields).map(([name, value]) => [name, loggable(value)]),
      )
      out.log({ level, time: new Date().toISOString(), message, ...shown })
    }
  return {
    debug: verbose ? at('debug') : () => {},
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
  }
}
