import { errorFields } from '../../../../core/errors/error-text.ts'
import type { Logger } from '../../../../core/telemetry.ts'
import { seldom } from '../../../../lib/async/seldom.ts'
import { systemClock } from '../../../../lib/async/clock.ts'
import type { OrderedChannel, Reading } from '../channel.ts'

/** Deliveries without an answer that the broker gives, at most. */
export const AHEAD = 500
/** Deliveries that stay without an answer, at most. Only their numbers are kept in memory. */
const MOST_STAYING = 100_000

/** One of the deliveries that the broker gives ahead. */
export interface Place {
  /** It gets no answer soon. */
  stay(): void
  /** Nothing of it is kept in memory any more. */
  leave(): void
}

export interface PlacesPorts extends Pick<Reading, 'running'> {
  readonly queue: string
  readonly logger: Logger
  readonly channel: Pick<OrderedChannel, 'giveUp'>
}

/** Makes room for other deliveries when half of the places are taken by what stays. */
export class Places {
  readonly #ports: PlacesPorts
  readonly #isNews = seldom(systemClock, 60_000)
  #makeRoom: (() => Promise<void>) | undefined
  #making = false
  /** Since room was made last. */
  #staying = 0
  #allStaying = 0
  /** Those of them that are kept in memory. */
  #kept = 0

  constructor(ports: PlacesPorts) {
    this.#ports = ports
  }

  /** `makeRoom`: what stays counts as ahead no more. */
  begin(makeRoom: () => Promise<void>): void {
    this.#makeRoom = makeRoom
    this.#look()
  }

  take(): Place {
    let state: 'moving' | 'staying' | 'left' = 'moving'
    return {
      stay: () => {
        if (state !== 'moving') return
        state = 'staying'
        this.#staying++
        this.#allStaying++
        this.#kept++
        this.#look()
      },
      leave: () => {
        if (state === 'staying') this.#kept--
        state = 'left'
        this.#look()
      },
    }
  }

  #look(): void {
    const { queue, logger, running } = this.#ports
    if (this.#makeRoom === undefined || this.#making || this.#staying < AHEAD / 2) return
    if (this.#kept < AHEAD && this.#allStaying < MOST_STAYING)
      return running.add(this.#make(this.#makeRoom))
    if (this.#isNews(queue))
      logger.error(
        { queue, waiting: this.#allStaying },
        'messages that can go nowhere, and those behind them, hold up a queue that is read in order',
      )
  }

  async #make(makeRoom: () => Promise<void>): Promise<void> {
    this.#making = true
    this.#staying = 0
    try {
      await makeRoom()
    } catch (error) {
      const { queue, logger, channel } = this.#ports
      logger.debug({ queue, ...errorFields(error) }, 'a queue that is split gave no room')
      channel.giveUp('RabbitMQ gave no further messages')
    }
    this.#making = false
    this.#look()
  }
}
