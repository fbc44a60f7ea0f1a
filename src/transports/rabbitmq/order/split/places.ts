import type { Logger } from '../../../../core/telemetry.ts'
import { seldom } from '../../../../lib/async/seldom.ts'
import { systemClock } from '../../../../lib/async/clock.ts'
import type { Answer } from '../../consume/settle.ts'

/** Deliveries without an answer that the broker gives at first, at most. */
export const AHEAD = 500
/** The same when most of them stay. AMQP can say no more than 65,535. */
const MOST_AHEAD = 65_000

/** One of the deliveries that the broker gives ahead. */
export interface Place {
  /** It gets no answer soon. */
  stay(): void
  /** Nothing of it is kept in memory any more. */
  leave(how: Answer): void
}

export interface PlacesPorts {
  readonly queue: string
  readonly logger: Logger
  /** How many there are. */
  readonly ahead: number
  /** Begins again with more of them. */
  readonly widen: (ahead: number) => void
}

/** Asks for more when few are left beside those that are taken by what stays. */
export class Places {
  readonly #ports: PlacesPorts
  readonly #isNews = seldom(systemClock, 60_000)
  #widened = false
  #staying = 0
  /** Those of them that are kept in memory. */
  #kept = 0

  constructor(ports: PlacesPorts) {
    this.#ports = ports
  }

  take(): Place {
    let state: 'moving' | 'staying' | 'left' = 'moving'
    return {
      stay: () => {
        if (state !== 'moving') return
        state = 'staying'
        this.#staying++
        this.#kept++
        this.#look()
      },
      leave: (how) => {
        if (state === 'staying') this.#kept--
        if (state === 'staying' && how !== 'requeue') this.#staying--
        state = 'left'
        this.#look()
      },
    }
  }

  #look(): void {
    const { queue, logger, ahead, widen } = this.#ports
    if (this.#widened || this.#staying < ahead - AHEAD / 2) return
    if (this.#kept < AHEAD && ahead < MOST_AHEAD) {
      this.#widened = true
      return widen(Math.min(2 * ahead, MOST_AHEAD))
    }
    if (this.#isNews(queue))
      logger.error(
        { queue, waiting: this.#staying },
        'messages that can go nowhere, and those behind them, hold up a queue that is read in order',
      )
  }
}
