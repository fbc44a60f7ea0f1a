import { errorFields } from '../../../core/errors/error-text.ts'
import type { Logger } from '../../../core/telemetry.ts'
import type { Consumption } from '../../../core/transport.ts'
import { toError } from '../../../lib/async/abort.ts'

/** Why a queue cannot be consumed. An outage of an hour is one line in the log for each cause. */
export interface Trouble {
  tell(error: unknown): void
  /** The same without a line in the log, which has one already. */
  note(error: unknown): void
  /** Messages come again, or could. Costs next to nothing when there is no trouble. */
  over(): void
}

const MOST_TEXTS = 20

export function trouble(
  logger: Logger,
  { queue, onTrouble }: Pick<Consumption, 'queue' | 'onTrouble'>,
): Trouble {
  const said = new Set<string>()
  let isTroubled = false
  const note = (error: unknown): void => {
    isTroubled = true
    onTrouble?.(toError(error))
  }
  return {
    note,
    tell(error) {
      const { message } = toError(error)
      const level = said.has(message) ? 'debug' : 'warn'
      if (said.size >= MOST_TEXTS) said.clear()
      said.add(message)
      logger[level](
        { queue, ...errorFields(error) },
        'a queue cannot be consumed now; beginning again',
      )
      note(error)
    },
    over() {
      if (!isTroubled) return
      isTroubled = false
      said.clear()
      onTrouble?.(undefined)
    },
  }
}
