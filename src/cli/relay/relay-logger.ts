import type { Logger } from '../../core/telemetry.ts'
import { errorValue } from '../../core/errors/error-text.ts'
import type { Output } from '../output.ts'

function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString()
  return value instanceof Error ? errorValue(value) : value
}

/** JSON lines on standard error: information, warnings, errors; with `verbose` also the rest. */
export function relayLogger(out: Output, verbose: boolean): Logger {
  const at =
    (level: string) =>
    (fields: Readonly<Record<string, unknown>>, message: string): void => {
      const shown = Object.fromEntries(
        Object.entries(fields).map(([name, value]) => [name, plain(value)]),
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
