import { errorFields } from '../../../core/errors/error-text.ts'
import type { Logger } from '../../../core/telemetry.ts'
import { toError } from '../../../lib/async/abort.ts'

/** Why a queue cannot be consumed. An outage of an hour is one line in the log for each cause. */
export interface Trouble {
  tell(error: unknown): void
  /** Messages come again. */
  over(): void
}

const MOST_TEXTS = 20

export function trouble(logger: Logger, queue: string): Trouble {
  const said = new Set<string>()
  return {
    tell(error) {
      const { message } = toError(error)
      const level = said.has(message) ? 'debug' : 'warn'
      if (said.size >= MOST_TEXTS) said.clear()
      said.add(message)
      logger[level](
        { queue, ...errorFields(error) },
        'a queue cannot be consumed now; beginning again',
      )
    },
    over() {
      said.clear()
    },
  }
}
