import { HEADER_BYTES, historyWith } from '../../../core/errors/attempts.ts'
import { errorFields, errorText } from '../../../core/errors/error-text.ts'
import type { Disposition } from '../../../core/transport.ts'
import { toError } from '../../../lib/async/abort.ts'
import { systemClock } from '../../../lib/async/clock.ts'
import { seldom } from '../../../lib/async/seldom.ts'
import { asideMs, cannotBury, deadText } from '../../shared/aside.ts'
import { move, type Move, type MoveResult } from '../../shared/moves.ts'
import type { KafkaSettings } from '../options.ts'
import type { Parcel } from '../publish/lane.ts'
import type { Producer } from '../publish/producer.ts'
import { toHeaders, withOwn } from '../publish/wire.ts'
import type { Names } from '../topology/names.ts'
import { decodeAside, encodeAside } from './aside.ts'
import type { Entry } from './partition.ts'

type Kind<Name extends Disposition['kind']> = Extract<Disposition, { kind: Name }>

/** A retry that comes so soon waits in its place; another one waits as a copy in a topic of its own. */
const IN_PLACE_MS = 1000
const LONGEST_ERROR = 4000

/** What becomes of a message in its partition. */
export type Settled = 'done' | 'open'

interface Step extends Move {
  readonly parcel: Parcel
}

export interface SettlerPorts {
  readonly producer: Producer
  readonly names: Names
  readonly settings: KafkaSettings
}

/** Does what the handler's side decided. */
export class Settler {
  readonly #ports: SettlerPorts
  readonly #isNews = seldom(systemClock, 60_000)

  constructor(ports: SettlerPorts) {
    this.#ports = ports
  }

  /** Never rejects. `open`: it is handed out again, at `due`. */
  async settle(
    queue: string,
    entry: Entry,
    disposition: Disposition,
    stopping: AbortSignal,
  ): Promise<Settled> {
    switch (disposition.kind) {
      case 'ack':
        return 'done'
      case 'release':
        entry.attempts--
        return 'open'
      case 'retry':
        return this.#retry(queue, entry, disposition, stopping)
      case 'reject':
        return this.#move(queue, entry, disposition.error, stopping, (isAside) =>
          isAside
            ? { dead: false, parcel: this.#asideCopy(queue, entry, disposition) }
            : { dead: true, parcel: this.#deadCopy(queue, entry, disposition) },
        )
      default:
        return disposition satisfies never
    }
  }

  async #retry(
    queue: string,
    entry: Entry,
    { delayMs, error, postponedSince }: Kind<'retry'>,
    stopping: AbortSignal,
  ): Promise<Settled> {
    if (postponedSince !== undefined) {
      entry.attempts--
      entry.since = postponedSince
    }
    const due = delayMs > 0 ? systemClock.now() + delayMs : 0
    // A message with a key holds its place, so that nothing of its key comes before it.
    if (entry.key !== undefined || delayMs <= IN_PLACE_MS) {
      entry.due = due
      return 'open'
    }
    const parcel = this.#waitingCopy(queue, entry, due, error)
    const settled = await this.#move(queue, entry, error, stopping, () => ({ dead: false, parcel }))
    if (settled === 'open') entry.due = due
    return settled
  }

  async #move(
    queue: string,
    entry: Entry,
    cause: Error,
    stopping: AbortSignal,
    next: (isAside: boolean) => Step,
  ): Promise<Settled> {
    const ending = await move<Step>({
      next,
      attempt: (step) => this.#attempt(step),
      failed: (step, error) => this.#failed(queue, step, error),
      lost: entry.partition.lost,
      stopping,
      clock: systemClock,
      random: Math.random,
    })
    if (ending.kind === 'moved') return 'done'
    if (ending.kind === 'give-back') return 'open'
    if (ending.kind === 'impossible') {
      // No topic takes a copy: it stays in its place, and is tried again much later.
      entry.due = systemClock.now() + asideMs(true)
      this.#ports.settings.logger.error(
        { queue, offset: entry.offset, error: errorText(cause) },
        'kafka: no copy of a message can be stored; it stays in its place, and is tried again later',
      )
    }
    return 'open'
  }

  async #attempt({ dead, parcel }: Step): Promise<MoveResult> {
    try {
      const answer = await this.#ports.producer.send(parcel)
      switch (answer.kind) {
        case 'confirmed':
          return { kind: 'moved' }
        case 'gone':
          return { kind: 'failed', refused: false, error: new Error(`'${parcel.topic}' is gone`) }
        case 'refused':
          if (answer.permanent && !dead) return { kind: 'impossible' }
          return { kind: 'failed', refused: true, error: answer.error }
        case 'unavailable':
        case 'unknown':
          return { kind: 'failed', refused: false, error: answer.error }
        default:
          return answer satisfies never
      }
    } catch (error) {
      return { kind: 'failed', refused: false, error: toError(error) }
    }
  }

  #failed(queue: string, { dead }: Step, error: Error): void {
    const level = this.#isNews(dead ? 'bury' : 'copy') ? (dead ? 'error' : 'warn') : 'debug'
    this.#ports.settings.logger[level](
      { queue, ...errorFields(error) },
      dead ? `kafka: ${cannotBury}` : 'kafka: the copy of a message was not stored, trying again',
    )
  }

  #history({ attempts, arrived }: Entry, error: Error): string {
    const failure = { attempt: attempts, at: systemClock.now(), error }
    return historyWith(arrived.own.history, failure, HEADER_BYTES)
  }

  #waitingCopy(queue: string, entry: Entry, due: number, error: Error): Parcel {
    const { envelope, key } = entry.arrived
    const { attempts, since } = entry
    const headers = withOwn(toHeaders(envelope), {
      attempts,
      due,
      ...(since === undefined ? {} : { since }),
      history: this.#history(entry, error),
    })
    return {
      topic: this.#ports.names.retryTopic(queue),
      partition: entry.partition.partition,
      ...(key === undefined ? {} : { key }),
      headers,
      body: envelope.body,
    }
  }

  /** It waits with its reason, so that it holds up nobody. */
  #asideCopy(queue: string, entry: Entry, { reason, error }: Kind<'reject'>): Parcel {
    const again = decodeAside(entry.arrived.own.aside) !== undefined
    const due = systemClock.now() + asideMs(again)
    const parcel = this.#waitingCopy(queue, entry, due, error)
    const aside = encodeAside({ reason, error: textOf(error) })
    return { ...parcel, headers: withOwn(parcel.headers, { aside }) }
  }

  #deadCopy(queue: string, entry: Entry, { reason, error }: Kind<'reject'>): Parcel {
    const { envelope, key } = entry.arrived
    const { topic, partition } = entry.partition
    const headers = withOwn(toHeaders(envelope), {
      reason,
      error: textOf(error),
      attempts: Math.max(1, entry.attempts),
      diedAt: systemClock.now(),
      history: this.#history(entry, error),
      ...(key === undefined ? {} : { key: key.toString() }),
    })
    const parcel = { topic: this.#ports.names.deadTopic(queue), partition: 0, headers }
    // The same message again replaces it. Another one may get its place if the topic is made anew.
    const own = Buffer.from(`${topic} ${partition} ${entry.offset} ${envelope.id}`)
    return { ...parcel, key: own, body: envelope.body }
  }
}

function textOf(error: Error): string {
  return deadText(error).slice(0, LONGEST_ERROR).toWellFormed()
}
