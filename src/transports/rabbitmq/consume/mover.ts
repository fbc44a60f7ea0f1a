import type { ConsumeMessage } from 'amqplib'
import { errorFields } from '../../../core/errors/error-text.ts'
import { isMersalError } from '../../../core/errors/errors.ts'
import type { PublishOutcome } from '../../../core/transport.ts'
import { systemClock } from '../../../lib/async/clock.ts'
import { seldom } from '../../../lib/async/seldom.ts'
import { cannotBury } from '../../shared/aside.ts'
import { type Ending, type Move, move, type MoveResult } from '../../shared/moves.ts'
import { stopOn } from '../../shared/stop.ts'
import type { RabbitSettings } from '../options.ts'
import type { HeaderTable } from '../publish/envelope.ts'
import type { Publisher } from '../publish/publisher.ts'
import { deadQueueOf, type Topology } from '../topology/topology.ts'
import type { Hold } from './settle.ts'
import { doesNotFit, slimmer } from './slimmer.ts'

/** Puts a copy with these headers into another queue. */
export interface CopyTo extends Move {
  readonly target: string
  readonly headers: HeaderTable
  /** Makes the target, if it is to be made first. */
  readonly prepare?: () => Promise<void>
}

/** What is to be done with one message. */
export interface Plan {
  readonly next: () => CopyTo
  /** In place of `dead`, which the dead letters do not take. */
  readonly aside: (dead: CopyTo) => CopyTo
  /**
   * In place of a move whose headers leave no room for the count of its attempts. Undefined: it is
   * impossible, and nothing has been written.
   */
  readonly noRoom: () => CopyTo | undefined
}

/** What the mover is told of the targets. */
export interface Targets {
  confirmed(queue: string): void
  /** It did not confirm in time. */
  silent(queue: string): void
  missing(queue: string): void
}

/** Copies messages to other queues of the broker. */
export class Mover {
  readonly #publisher: Publisher
  readonly #topology: Topology
  readonly #settings: RabbitSettings
  readonly #targets: Targets
  readonly #isNews = seldom(systemClock, 60_000)

  constructor(
    publisher: Publisher,
    topology: Topology,
    settings: RabbitSettings,
    targets: Targets,
  ) {
    this.#publisher = publisher
    this.#topology = topology
    this.#settings = settings
    this.#targets = targets
  }

  /** Tries until the copy is confirmed, or nothing is left to be tried. Never rejects. */
  move(hold: Hold, plan: Plan): Promise<Ending<CopyTo>> {
    let grave: CopyTo | undefined
    return move<CopyTo>({
      next(aside) {
        const step = grave ?? plan.next()
        return aside && step.dead ? plan.aside(step) : step
      },
      attempt: async (step) => {
        const result = await this.once(hold, step)
        if (result !== 'no-room') return result
        // The count of its attempts cannot travel with it, so it would be tried without end.
        const other = plan.noRoom()
        if (other === undefined) return { kind: 'impossible' }
        grave = other
        return { kind: 'again' }
      },
      failed: (step, error) => this.#log(hold, step, error),
      lost: hold.lost,
      stopping: hold.stopping,
      clock: systemClock,
      random: Math.random,
    })
  }

  /** One try. */
  async once(hold: Hold, step: CopyTo): Promise<MoveResult | 'no-room'> {
    try {
      await step.prepare?.()
    } catch (error) {
      return failed(error as Error)
    }
    const began = systemClock.monotonic()
    const outcome = await this.#copy(hold, step)
    if (outcome.kind === 'confirmed') {
      this.#targets.confirmed(step.target)
      return { kind: 'moved' }
    }
    // A lost connection answers earlier; a timer may be early by a millisecond.
    const waited = systemClock.monotonic() - began
    if (outcome.kind === 'unknown' && waited >= this.#settings.confirmTimeoutMs - 1)
      this.#targets.silent(step.target)
    if (outcome.kind === 'unknown') hold.known.doubled = true
    if (outcome.kind === 'refused' && outcome.permanent)
      return doesNotFit(outcome) && !step.dead ? 'no-room' : { kind: 'impossible' }
    if (outcome.kind === 'refused' && outcome.reason === 'unroutable') await this.#makeAgain(step)
    return failed(outcome.error)
  }

  /** With as much of the headers as fits into a frame. */
  async #copy(
    { message, lost }: { readonly message: ConsumeMessage; readonly lost: AbortSignal },
    step: CopyTo,
  ): Promise<PublishOutcome> {
    let outcome: PublishOutcome | undefined
    for (const properties of slimmer(message, step)) {
      const { content } = message
      const parcel = { exchange: '', routingKey: step.target, content, properties }
      outcome = await this.#publisher.send(parcel, stopOn(lost))
      if (!doesNotFit(outcome)) break
    }
    return outcome as PublishOutcome
  }

  /** Somebody deleted the queue: it is made again if it is ours to make. */
  async #makeAgain({ target, dead }: CopyTo): Promise<void> {
    this.#targets.missing(target)
    if (!dead) return
    try {
      await this.#topology.queue(target.slice(0, -deadQueueOf('').length))
    } catch (error) {
      this.#settings.logger.warn(errorFields(error), 'the dead-letter queue could not be made')
    }
  }

  #log({ queue }: Hold, { target, dead }: CopyTo, error: Error): void {
    const { logger } = this.#settings
    const fields = { queue, target, ...errorFields(error) }
    const level = this.#isNews(`${target} ${fields.code}`) ? (dead ? 'error' : 'warn') : 'debug'
    logger[level](fields, dead ? cannotBury : 'a message could not be moved yet')
  }
}

function failed(error: Error): MoveResult {
  const refused =
    isMersalError(error, 'MERSAL_UNROUTABLE') || isMersalError(error, 'MERSAL_REFUSED')
  return { kind: 'failed', error, refused }
}
