import { randomUUID } from 'node:crypto'
import type { ConsumeMessage } from 'amqplib'
import { type HeaderTable, headerTable, numberIn, ownHeaders } from '../publish/envelope.ts'
import { systemClock } from '../../../lib/async/clock.ts'
import { dueHere } from '../../shared/order/due.ts'
import type { Answer } from '../consume/settle.ts'
import type { Reject } from '../../shared/receiving/held-messages.ts'
import type { BegunHere } from '../connection/known.ts'
import { keyOf } from './names.ts'

/**
 * What is known of earlier deliveries that did not end, perhaps because the message ends processes.
 *
 * - `clean`: there was none.
 * - `suspect`: it was in the hands of somebody who did not end it, begun or not. So its number is
 *   written down before it is begun.
 * - `charged`: it was begun, and did not end. It is begun alone, so that it takes no others along.
 * - `begun`: its number is written down, by this process.
 */
export type Past = 'clean' | 'suspect' | 'charged' | 'begun'

/** A message of a partition whose turn has come, or will come. */
export interface Entry {
  readonly message: ConsumeMessage
  readonly key: string | undefined
  readonly answer: (how: Answer) => void
  /** Names the message through all its copies. */
  readonly lineage: string
  /** Number of the delivery that it is for. */
  readonly attempt: number
  /** Not before, in milliseconds of the monotonic clock. */
  readonly dueAt: number
  readonly past: Past
  /** It is to be a dead letter, which could not be stored yet. */
  readonly verdict?: Reject
}

/** A delivery that has been noted on its channel: from then on no other answer covers it. */
export type Arrived = Pick<Entry, 'message' | 'answer'>

export function lineageIn(headers: HeaderTable): string | undefined {
  const given = headers[ownHeaders.lineage]
  return typeof given === 'string' && given.length <= 64 ? given : undefined
}

/** A message as it came into the partition. */
export function entryOf({ message, answer }: Arrived): Entry {
  const headers = headerTable(message)
  return {
    message,
    key: keyOf(message),
    answer,
    lineage: lineageIn(headers) ?? randomUUID(),
    attempt: numberIn(headers, ownHeaders.attempt, 1, 1),
    dueAt: 0,
    past: message.fields.redelivered ? 'suspect' : 'clean',
  }
}

/** What is written in the header `begun`. */
export const marks = { begun: '1', charged: '0' } as const

/** Its copy in the retry queue, which a former owner of the partition has left. */
export function entryOfAdopted(copy: Arrived, begunHere: BegunHere): Entry {
  const entry = entryOfCopy(copy)
  const mark = headerTable(copy.message)[ownHeaders.begun]
  const mine = mark === marks.begun ? begunHere.cameBack(entry) : undefined
  // This process lives, so that it was not what the message ended.
  if (mine !== undefined) return { ...entry, past: mine.alone ? 'charged' : 'suspect' }
  return {
    ...entry,
    attempt: entry.attempt + (mark === marks.begun ? 1 : 0),
    past: mark === undefined ? 'suspect' : 'charged',
  }
}

/** Its copy in the retry queue, which this process has written. */
export function entryOfCopy(copy: Arrived): Entry {
  const headers = headerTable(copy.message)
  return {
    ...entryOf(copy),
    dueAt: dueHere(
      {
        at: numberIn(headers, ownHeaders.dueAt, 0, 0),
        delayMs: numberIn(headers, ownHeaders.delay, 0, Number.POSITIVE_INFINITY),
      },
      systemClock,
    ),
    past: headers[ownHeaders.begun] === marks.begun ? 'begun' : 'clean',
  }
}

/** Of two copies of one message the higher one counts. */
export function stepIn(message: ConsumeMessage): number {
  const headers = headerTable(message)
  const begun = headers[ownHeaders.begun] === marks.begun ? 1 : 0
  return 2 * numberIn(headers, ownHeaders.attempt, 1, 1) + begun
}
