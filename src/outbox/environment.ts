import type { Logger } from '../core/telemetry.ts'
import type { Clock, Random } from '../lib/async/clock.ts'

/** What every part of a relay shares: its name, and the way to time, chance and the log. */
export interface Environment {
  /** Shown in events and logs. */
  readonly app: string
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  /** Makes a token that nobody else makes. */
  readonly newToken: () => string
}
