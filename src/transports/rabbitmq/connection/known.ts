import { randomUUID } from 'node:crypto'
import type { Message } from 'amqplib'
import type { Disposition } from '../../../core/transport.ts'
import { attemptOf, headerTable, numberIn, ownHeaders } from '../publish/envelope.ts'

/** What this process knows of one step of one message: of its delivery with one attempt number. */
export interface Known {
  /** Names the message through all its copies; travels with them. */
  readonly lineage: string
  /** Number of the delivery, as far as it is charged. */
  attempt: number
  /** What the handler's side has said; it is recorded again if need be, but not asked again. */
  decided: Disposition | undefined
  /** The broker holds what follows, so that nothing is left to be done. */
  settled: boolean
  /** There may be two of this copy, since the broker did not answer. */
  doubled: boolean
  /** Lineage of the copy that comes after a wish, which keeps the number. */
  next?: string
  /** While the message is in hand. */
  inHand: PromiseWithResolvers<void> | undefined
  /** Deliveries that ended with the channel. */
  losses: number
  /** It was given back on purpose. */
  givenBack: boolean
}

/** How a delivery came. */
export interface Arrival {
  readonly queue: string
  readonly message: Message
  /** The broker says that it has delivered it before. */
  readonly again: boolean
  /** What its headers say about the attempt, without what the broker has counted since. */
  readonly base: number
  /** With that. */
  readonly counted: number
}

export function arrivalOf(queue: string, message: Message): Arrival {
  const base = numberIn(headerTable(message), ownHeaders.attempt, 1, 1)
  return { queue, message, again: message.fields.redelivered, base, counted: attemptOf(message) }
}

const MOST = 10_000
/**
 * A lost channel charges nothing while the process lives, but not without end: what loses it may be
 * the handler.
 */
const FREE_LOSSES = 20

function fresh(lineage: string, attempt: number): Known {
  return {
    lineage,
    attempt,
    decided: undefined,
    settled: false,
    doubled: false,
    inHand: undefined,
    losses: 0,
    givenBack: false,
  }
}

function lineageOf(message: Message): string | undefined {
  const given = headerTable(message)[ownHeaders.lineage]
  return typeof given === 'string' && given.length <= 64 ? given : undefined
}

/** For what is only moved on, and not handled now. */
export function passing({ message, counted }: Arrival): Known {
  return fresh(lineageOf(message) ?? randomUUID(), counted)
}

/**
 * Remembers the latest deliveries, so that one which comes again, after a lost channel or as a
 * second copy that the broker did not confirm, is not handled as if nothing had happened. See ADR
 * 0147.
 */
export class KnownDeliveries {
  readonly #steps = new Map<string, Known>()

  /** What is known of this delivery; begins to remember it. */
  meet(arrival: Arrival): Known {
    const { message, again, base, counted } = arrival
    const lineage = lineageOf(message)
    const id: unknown = message.properties.messageId
    const step = lineage === undefined ? unmarked(arrival) : `${lineage} ${base}`
    // Without a mark of ours, only the broker can tell that it is the same message: somebody may
    // use an id twice.
    const found =
      lineage !== undefined || (again && typeof id === 'string' && id !== '')
        ? this.#steps.get(step)
        : undefined
    if (found === undefined) {
      const known = fresh(lineage ?? randomUUID(), counted)
      this.#remember(step, known)
      return known
    }
    if (found.inHand === undefined && found.decided === undefined && !found.settled)
      comeAgain(found)
    return found
  }

  /** A copy of this step is on its way, which carries the mark. */
  copied(known: Known): void {
    known.doubled = true
    this.#remember(`${known.lineage} ${known.attempt}`, known)
  }

  /** Its end is certain, so that it cannot come again. */
  forget(arrival: Arrival, known: Known): void {
    if (known.doubled) return
    this.#steps.delete(`${known.lineage} ${arrival.base}`)
    this.#steps.delete(unmarked(arrival))
  }

  #remember(step: string, known: Known): void {
    this.#steps.delete(step)
    this.#steps.set(step, known)
    if (this.#steps.size <= MOST) return
    const [oldest] = this.#steps.keys()
    if (oldest !== undefined) this.#steps.delete(oldest)
  }
}

/**
 * The step of a message without a mark of ours. A dead letter that another program has moved back
 * tells when it had died, and is no copy of what was given up then.
 */
function unmarked({ queue, message, base }: Arrival): string {
  const { [ownHeaders.diedAt]: diedAt = '' } = headerTable(message)
  return `id ${queue} ${base} ${String(diedAt)} ${String(message.properties.messageId)}`
}

/**
 * What is known to this process of a message that is kept in order, and whose delivery it had begun
 * when it was given back.
 */
export interface BegunHere {
  /** `alone`: it may be what ends processes. */
  begin(step: BegunStep): void
  /**
   * Undefined if another process began this delivery, or if the message has cost this one too many
   * channels: then it is charged.
   */
  cameBack(step: Omit<BegunStep, 'alone'>): Pick<BegunStep, 'alone'> | undefined
}

export interface BegunStep {
  readonly lineage: string
  readonly attempt: number
  readonly alone: boolean
}

export function createBegunHere(): BegunHere {
  const begun = new Map<string, { step: BegunStep; losses: number }>()
  return {
    begin({ lineage, attempt, alone }) {
      const losses = begun.get(lineage)?.losses ?? 0
      begun.delete(lineage)
      // Nothing else of the message, whose bytes would stay with it.
      begun.set(lineage, { step: { lineage, attempt, alone }, losses })
      const [oldest] = begun.keys()
      if (begun.size > MOST && oldest !== undefined) begun.delete(oldest)
    },
    cameBack({ lineage, attempt }) {
      const found = begun.get(lineage)
      if (found?.step.attempt !== attempt) return undefined
      return ++found.losses > FREE_LOSSES ? undefined : found.step
    },
  }
}

function comeAgain(known: Known): void {
  if (!known.givenBack && ++known.losses > FREE_LOSSES) known.attempt++
  known.givenBack = false
}
