import { checkChoice, checkNumber, checkShape } from '../../core/options.ts'
import { type Logger, stderrLogger } from '../../core/telemetry.ts'
import { type Clock, type Random, systemClock } from '../../lib/async/clock.ts'
import type { MigrateMode } from './migrations.ts'

/** What every store and every queue on a database can be told. */
export interface DatabaseSettings {
  readonly migrate: MigrateMode
  readonly logger: Logger
  readonly clock: Clock
  readonly random: Random
}

type Given = { readonly [Name in keyof DatabaseSettings]?: DatabaseSettings[Name] | undefined }

/** Fills in the defaults. `where`: begins the names in errors. Throws `MERSAL_INVALID_OPTIONS`. */
export function databaseSettings(where: string, given: Given): DatabaseSettings {
  const { migrate, logger = stderrLogger, clock = systemClock, random = Math.random } = given
  checkShape(`${where}.logger`, logger, ['debug', 'info', 'warn', 'error'])
  const modes = ['auto', 'check', 'off'] as const
  return { migrate: checkChoice(`${where}.migrate`, migrate, modes, 'auto'), logger, clock, random }
}

const TEN_YEARS_MS = 3660 * 86_400_000

/** How long confirmed messages are kept, in milliseconds; default 0: not at all. */
export function checkKeepSentMs(where: string, given: number | undefined): number {
  return checkNumber(`${where}.keepSentMs`, given, { default: 0, min: 0, max: TEN_YEARS_MS })
}
