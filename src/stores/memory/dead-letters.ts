import { type DeadLetter } from '../../core/dead-letter.ts'
import { attemptsOf } from '../../core/errors/attempts.ts'
import { errorText } from '../../core/errors/error-text.ts'
import { destinationKey, type OutgoingMessage } from '../../core/messages/message.ts'
import type { Settlement } from '../../core/outbox.ts'
import type { OutboxRow } from './outbox-table.ts'

export interface DeadRow {
  readonly letter: DeadLetter
  readonly message: OutgoingMessage
  readonly addedAt: number
  /** Where it still stands in the outbox and holds back its key. */
  readonly row: OutboxRow | undefined
}

/** What was given up, by number, in the order of dying. */
export type DeadRows = Map<number, DeadRow>

export type Death = Extract<Settlement, { kind: 'dead' }>

export function makeDeadRow(number: number, row: OutboxRow, death: Death, diedAt: number): DeadRow {
  const { message } = row
  const blocksKey = death.onDead === 'block-key' && message.partitionKey !== undefined
  const letter: DeadLetter = {
    key: String(number),
    direction: 'outgoing',
    id: message.id,
    type: message.type,
    headers: message.headers,
    body: message.body,
    place: destinationKey(message.to),
    ...(message.partitionKey === undefined ? {} : { partitionKey: message.partitionKey }),
    reason: death.reason,
    error: errorText(death.error),
    attempts: row.attempts,
    history: attemptsOf(row.history),
    diedAt,
    maybePublished: death.maybePublished,
    blocksKey,
  }
  return { letter, message, addedAt: row.addedAt, row: blocksKey ? row : undefined }
}
