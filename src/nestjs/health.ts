import type { AppHealth, HealthPart, HealthStatus } from '../app/health/health.ts'
import { checkOptions, invalidOption } from '../core/options.ts'

/** Options of `healthIndicator()`. */
export interface HealthIndicatorOptions {
  /** Names the app in the answer of the health check. Default 'mersal'. */
  readonly key?: string
  /**
   * `ready`: it has started and reaches its database, as a readiness probe asks. `live`: it has not
   * stopped, as a liveness probe asks. Default 'ready'.
   */
  readonly asks?: 'ready' | 'live'
}

/** How an app is, as `@nestjs/terminus` takes it. */
export interface MersalIndication {
  /** `down` fails the health check. */
  readonly status: 'up' | 'down'
  /** As `app.health()` says it. `degraded` fails no check: messages wait in the outbox. */
  readonly health: HealthStatus
  /** What is not ok, and why. */
  readonly troubles: readonly HealthPart[]
}

/**
 * A health indicator for `HealthCheckService.check()` of `@nestjs/terminus`, which is no dependency
 * of Mersal: `health.check([healthIndicator(app)])`.
 *
 * Throws `MERSAL_INVALID_OPTIONS`.
 */
export function healthIndicator(
  app: { health(): Promise<AppHealth> },
  options: HealthIndicatorOptions = {},
): () => Promise<Record<string, MersalIndication>> {
  checkOptions('healthIndicator()', options, ['key', 'asks'])
  const { key = 'mersal', asks = 'ready' } = options
  if (typeof key !== 'string' || key === '') throw invalidOption('key', 'expected a name')
  if (asks !== 'ready' && asks !== 'live') throw invalidOption('asks', `expected 'ready' or 'live'`)
  return async () => {
    const { status: health, parts, ...answers } = await app.health()
    const troubles = parts.filter(({ status }) => status !== 'ok')
    return { [key]: { status: answers[asks] ? 'up' : 'down', health, troubles } }
  }
}
