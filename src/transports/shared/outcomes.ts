import { MersalError } from '../../core/errors/errors.ts'
import type { Destination, Envelope, OutgoingMessage } from '../../core/messages/message.ts'
import type { PublishOutcome } from '../../core/transport.ts'
import { byteLength } from '../../lib/text.ts'

export type Refused = Extract<PublishOutcome, { kind: 'refused' }>
export type Unavailable = Extract<PublishOutcome, { kind: 'unavailable' }>

export const confirmed: PublishOutcome = { kind: 'confirmed' }

/** Bytes of body and headers, as `maxMessageBytes` counts them. */
export function sizeOf({ headers, body }: Pick<Envelope, 'headers' | 'body'>): number {
  let bytes = body.byteLength
  for (const name of Object.keys(headers))
    bytes += byteLength(name) + byteLength(headers[name] as string)
  return bytes
}

export function tooLarge(bytes: number, limit: number): Refused {
  const text = `the message has ${bytes} bytes; the limit is ${limit}: put the content elsewhere and send where it is`
  const error = new MersalError('MERSAL_TOO_LARGE', text, { details: { bytes, limit } })
  return { kind: 'refused', reason: 'too-large', error, permanent: true }
}

/** No queue takes it now. A queue or a subscription may come, so it is tried again. */
export function unroutable({ kind, name }: Pick<Destination, 'kind' | 'name'>): Refused {
  const text =
    kind === 'queue'
      ? `nobody has declared the queue '${name}': start its app once, or check the route`
      : `no queue is subscribed to '${name}': start a subscriber once, or set eventsWithoutSubscribers: 'discard'`
  const error = new MersalError('MERSAL_UNROUTABLE', text)
  return { kind: 'refused', reason: 'unroutable', error, permanent: false }
}

/** Trying the same message again is useless. */
export function refusedForGood(text: string, cause?: unknown): Refused {
  const error = new MersalError('MERSAL_REFUSED', text, { cause })
  return { kind: 'refused', reason: 'refused', error, permanent: true }
}

/** The broker does not take it now, and gives no reason that would last. */
export function refused(text: string): Refused {
  const error = new MersalError('MERSAL_REFUSED', text)
  return { kind: 'refused', reason: 'refused', error, permanent: false }
}

/** Certainly not with the broker, through no fault of the message. */
export function unavailable(text: string, cause?: unknown): Unavailable {
  return { kind: 'unavailable', error: new MersalError('MERSAL_UNAVAILABLE', text, { cause }) }
}

/** The caller took it back before it was written. */
export function withdrawn(): Unavailable {
  return { ...unavailable('not sent: it was taken back while it waited its turn'), withdrawn: true }
}

/** The broker may hold it. */
export function unknown(text: string, cause?: unknown): PublishOutcome {
  return { kind: 'unknown', error: new MersalError('MERSAL_UNKNOWN_OUTCOME', text, { cause }) }
}

/**
 * For transports with `ordering: 'per-key'`, one for each call of `publish`: of a key, what follows
 * a message that was not confirmed is not sent.
 */
export interface KeyOrder {
  /** The answer to a message that must not be sent; undefined if it may be. */
  before(message: OutgoingMessage): PublishOutcome | undefined
  /** What became of a message of this call. */
  note(message: OutgoingMessage, outcome: PublishOutcome): void
}

export function keyOrder(): KeyOrder {
  const stopped = new Map<string, PublishOutcome>()
  return {
    before({ partitionKey }) {
      const earlier = partitionKey === undefined ? undefined : stopped.get(partitionKey)
      return earlier?.kind === 'refused' ? heldBack() : earlier
    },
    note({ partitionKey }, outcome) {
      if (partitionKey !== undefined && outcome.kind !== 'confirmed')
        stopped.set(partitionKey, outcome)
    },
  }
}

export function heldBack(): Refused {
  return refused('held back: an earlier message of the same key was refused')
}

/** The one answer to an event that went into several queues. */
export function together(outcomes: readonly PublishOutcome[]): PublishOutcome {
  const [first] = outcomes
  if (outcomes.length === 1 && first !== undefined) return first
  const failed = outcomes.filter(({ kind }) => kind !== 'confirmed')
  if (failed.length === 0) return confirmed
  const refusal = failed.find(({ kind }) => kind === 'refused')
  if (refusal !== undefined) return refusal
  const [other] = failed as [Exclude<PublishOutcome, { kind: 'confirmed' }>]
  if (failed.length === outcomes.length && failed.every(({ kind }) => kind === 'unavailable'))
    return other
  return unknown(`only some of its queues have stored the event: ${other.error.message}`)
}
