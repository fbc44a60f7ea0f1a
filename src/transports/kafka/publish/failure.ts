import type { PublishOutcome } from '../../../core/transport.ts'
import type { Describe } from '../../shared/describe.ts'
import { refused, refusedForGood } from '../../shared/outcomes.ts'
import {
  awayCodes,
  codes,
  codesIn,
  coordinatorCodes,
  detailOf,
  fencedCodes,
  movedCodes,
  recordCodes,
} from '../connection/faults.ts'

/** `gone`: the topic does not exist. */
export type Answer = PublishOutcome | { readonly kind: 'gone' }

/** The broker has refused a batch for good, for one of its messages or for its size. */
export interface Condemned {
  readonly kind: 'condemned'
  readonly why: 'too-large' | Extract<PublishOutcome, { kind: 'refused' }>
}

/** `moved` and `fenced`: certainly not stored by this try. */
export interface Passing {
  readonly kind: 'moved' | 'fenced' | 'away' | 'unknown'
  readonly error: Error
}

export interface Final {
  readonly kind: 'answer'
  readonly answer: Answer
}

/**
 * `elsewhere`: another broker leads the partition. `duplicate`: an earlier try has stored it.
 * `untimely`: the clock of this machine is too far from that of the broker.
 */
export type Failure =
  | Condemned
  | Passing
  | Final
  | { readonly kind: 'elsewhere' | 'duplicate' | 'untimely' }

/** A request that has left. */
export interface Sent {
  readonly messages: number
  /** Its records had no time. */
  readonly timeless: boolean
}

interface About {
  /** Undefined: nothing was written. */
  readonly sent: Sent | undefined
  readonly topic: string
  readonly describe: Describe
}

/** What it means that a batch was not confirmed. */
export function failureOf(error: Error, about: About): Failure {
  const { sent, topic, describe } = about
  const found = codesIn(error)
  const has = (code: number): boolean => found.includes(code)
  const some = (these: ReadonlySet<number>): boolean => found.some((code) => these.has(code))
  const forbidden = has(codes.topicAuthorization) || has(codes.clusterAuthorization)
  if ((sent === undefined && some(coordinatorCodes)) || some(movedCodes))
    return { kind: 'elsewhere' }
  if (sent === undefined)
    return forbidden
      ? { kind: 'answer', answer: refused(`'${topic}': ${detailOf(error, describe)}`) }
      : { kind: 'away', error }
  if (has(codes.duplicateSequence)) return { kind: 'duplicate' }
  if (has(codes.messageTooLarge) || has(codes.batchTooLarge))
    return { kind: 'condemned', why: 'too-large' }
  if (some(fencedCodes)) return { kind: 'fenced', error }
  if (some(awayCodes)) return { kind: 'moved', error }
  // No fault of a message: it can be sent again without a time.
  if (has(codes.invalidTimestamp) && !sent.timeless) return { kind: 'untimely' }
  // Not stored, for a reason that lasts: a rule of the broker, or a right that is missing.
  const text = `'${topic}': Kafka answers: ${detailOf(error, describe)}`
  if (some(recordCodes)) return { kind: 'condemned', why: refusedForGood(text) }
  if (has(codes.corruptMessage) || has(codes.policyViolation))
    return { kind: 'condemned', why: refused(text) }
  return forbidden ? { kind: 'answer', answer: refused(text) } : { kind: 'unknown', error }
}
