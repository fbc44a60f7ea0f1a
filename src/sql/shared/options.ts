import {
  checkChoice,
  checkClock,
  checkNumber,
  checkOptions,
  checkRandom,
  checkShape,
} from '../../core/options.ts'
import { type Logger, stderrLogger } from '../../core/telemetry.ts'
import type { Clock, Random } from '../../lib/async/clock.ts'
import { checkIdentifier } from '../identifiers.ts'
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
  const { migrate, logger = stderrLogger } = given
  checkShape(`${where}.logger`, logger, ['debug', 'info', 'warn', 'error'])
  const modes = ['auto', 'check', 'off'] as const
  return {
    migrate: checkChoice(`${where}.migrate`, migrate, modes, 'auto'),
    logger,
    clock: checkClock(`${where}.clock`, given.clock),
    random: checkRandom(`${where}.random`, given.random),
  }
}

/**
 * What those who run migrations by themselves say: the schema, and the version that is there.
 * `preset`: the schema unless one is given. Throws `MERSAL_INVALID_OPTIONS`.
 */
export function checkMigrationSql(
  call: string,
  options: { readonly schema?: string; readonly from?: number },
  preset?: string,
): { readonly schema: string; readonly from: number } {
  checkOptions(call, options, ['schema', 'from'])
  const { schema = preset, from } = options
  return {
    schema: checkIdentifier(`${call}.schema`, schema),
    from: checkNumber(`${call}.from`, from, { default: 0, min: 0, max: Number.MAX_SAFE_INTEGER }),
  }
}

const TEN_YEARS_MS = 3660 * 86_400_000

/** How long confirmed messages are kept, in milliseconds; default 0: not at all. */
export function checkKeepSentMs(where: string, given: number | undefined): number {
  return checkNumber(`${where}.keepSentMs`, given, { default: 0, min: 0, max: TEN_YEARS_MS })
}
