import { randomUUID } from 'node:crypto'
import type { ConsumeMessage } from 'amqplib'
import { type HeaderTable, headerTable, numberIn, ownHeaders } from '../publish/envelope.ts'
import type { Answer } from '../consume/settle.ts'
import { keyOf } from './names.ts'

/** A message of a partition whose turn has come, or will come. */
export interface Entry {
  readonly message: ConsumeMessage
  readonly key: string | undefined
  readonly answer: (how: Answer) => void
  /** Names the message through all its copies. */
  readonly lineage: string
  /** Number of the delivery that it is for. */
  readonly attempt: number
  /** Not before, in milliseconds since the Unix epoch. */
  readonly dueAt: number
  /**
   * It was in the hands of somebody who did not end it: perhaps because it ends processes. So its
   * number is written down before it is begun.
   */
  readonly suspect: boolean
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
    suspect: message.fields.redelivered,
  }
}

/** Its copy in the retry queue. `adopted`: from a former owner of the partition. */
export function entryOfCopy(copy: Arrived, adopted: boolean): Entry {
  const headers = headerTable(copy.message)
  const begun = adopted && headers[ownHeaders.begun] !== undefined
  const entry = entryOf(copy)
  return {
    ...entry,
    attempt: entry.attempt + (begun ? 1 : 0),
    dueAt: numberIn(headers, ownHeaders.dueAt, 0, 0),
    suspect: adopted,
  }
}

/** Of two copies of one message the higher one counts. */
export function stepIn(message: ConsumeMessage): number {
  const headers = headerTable(message)
  const begun = headers[ownHeaders.begun] === undefined ? 0 : 1
  return 2 * numberIn(headers, ownHeaders.attempt, 1, 1) + begun
}
