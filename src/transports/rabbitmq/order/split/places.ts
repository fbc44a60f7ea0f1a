import { errorFields } from '../../../../core/errors/error-text.ts'
import type { Logger } from '../../../../core/telemetry.ts'
import { seldom } from '../../../../lib/async/seldom.ts'
import { systemClock } from '../../../../lib/async/clock.ts'
import type { Answer } from '../../consume/settle.ts'
import type { OrderedChannel, Reading } from '../channel.ts'
import type { Arrived } from '../entry.ts'

/** Deliveries without an answer that the broker gives, at most. */
export const AHEAD = 500
/** Deliveries that stay without an answer, at most. Only their numbers are kept in memory. */
const MOST_STAYING = 100_000

/** One of the deliveries that the broker gives ahead. */
export interface Place {
  /** It gets no answer soon. */
  stay(): void
  /** Nothing of it is kept in memory any more but its answer, which may be told later. */
  end(how: Answer): void
}

export interface PlacesPorts extends Pick<Reading, 'running' | 'stopping'> {
  readonly queue: string
  readonly logger: Logger
  readonly channel: Pick<OrderedChannel, 'giveUp'>
}

/**
 * Makes room for other deliveries when half of the places are taken by what stays.
 *
 * A quorum queue takes back what is on its way to a consumer that ends, and gives later messages
 * first. So a consumer ends only when nothing can be on its way to it: the answers are held back
 * until all of its places are taken.
 */
export class Places {
  readonly #ports: PlacesPorts
  readonly #isNews = seldom(systemClock, 60_000)
  #makeRoom: (() => Promise<void>) | undefined
  #making = false
  /** Counts the consumers. */
  #consumer = 0
  /** Its deliveries without an answer. */
  #open = 0
  /** Since room was made last. */
  #staying = 0
  #allStaying = 0
  /** Those of them that are kept in memory. */
  #kept = 0
  #heldBack: (() => void)[] = []

  constructor(ports: PlacesPorts) {
    this.#ports = ports
    ports.stopping.addEventListener('abort', () => this.tell(), { once: true })
  }

  /** `makeRoom`: what stays counts as ahead no more. */
  begin(makeRoom: () => Promise<void>): void {
    this.#makeRoom = makeRoom
    this.#look()
  }

  take(answer: Arrived['answer']): Place {
    let state: 'moving' | 'staying' | 'left' = 'moving'
    const consumer = this.#consumer
    this.#open++
    this.#look()
    return {
      stay: () => {
        if (state !== 'moving') return
        state = 'staying'
        this.#staying++
        this.#allStaying++
        this.#kept++
        this.#look()
      },
      end: (how) => {
        if (state === 'staying') this.#kept--
        state = 'left'
        if (how !== 'requeue')
          this.#answer(() => {
            if (consumer === this.#consumer) this.#open--
            answer(how)
          })
        this.#look()
      },
    }
  }

  /** Tells the broker what was held back. */
  tell(): void {
    for (const answer of this.#heldBack.splice(0)) answer()
  }

  get #isFull(): boolean {
    return this.#kept >= AHEAD || this.#allStaying >= MOST_STAYING
  }

  get #wantsRoom(): boolean {
    return this.#makeRoom !== undefined && this.#staying >= AHEAD / 2
  }

  #answer(answer: () => void): void {
    const isHeldBack = this.#making || (this.#wantsRoom && !this.#isFull)
    if (isHeldBack && !this.#ports.stopping.aborted) this.#heldBack.push(answer)
    else answer()
  }

  #look(): void {
    const { queue, logger, running } = this.#ports
    if (this.#makeRoom === undefined || this.#making || !this.#wantsRoom) return
    if (!this.#isFull) {
      if (this.#open >= AHEAD) running.add(this.#make(this.#makeRoom))
      return
    }
    this.tell()
    if (this.#isNews(queue))
      logger.error(
        { queue, waiting: this.#allStaying },
        'messages that can go nowhere, and those behind them, hold up a queue that is read in order',
      )
  }

  async #make(makeRoom: () => Promise<void>): Promise<void> {
    this.#making = true
    // What comes from now on is of the next one.
    this.#consumer++
    this.#open = 0
    this.#staying = 0
    try {
      await makeRoom()
      this.tell()
    } catch (error) {
      const { queue, logger, channel } = this.#ports
      logger.debug({ queue, ...errorFields(error) }, 'a queue that is split gave no room')
      this.tell()
      channel.giveUp('RabbitMQ gave no further messages')
    }
    this.#making = false
    this.#look()
  }
}
