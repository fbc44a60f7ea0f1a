import type { OutgoingMessage } from '../../../core/messages/message.ts'

/** The place of a message in a unit. */
export interface Slot {
  readonly number: number
  message: OutgoingMessage | undefined
  dropped: boolean
  /** Numbers of the calls that have taken it back. */
  cancels: readonly number[]
}

/**
 * A message of a unit, its number in the transaction, from 1, and those of calls that have taken it
 * back.
 */
export interface Captured {
  readonly number: number
  readonly message: OutgoingMessage
  readonly cancels: readonly number[]
}

/** What has not been dropped. */
export function captured(slots: readonly Slot[]): readonly Captured[] {
  return slots.flatMap(({ number, message, dropped, cancels }) =>
    message === undefined || dropped ? [] : [{ number, message, cancels }],
  )
}

/** The delayed messages with this id. */
export function delayedOf(slots: readonly Slot[], id: string): readonly Slot[] {
  return slots.filter(
    ({ message, dropped }) => !dropped && message?.id === id && message.delayMs !== undefined,
  )
}

/** Forgets the calls after this number. */
export function restore(slots: readonly Slot[], last: number): void {
  for (const slot of slots) slot.cancels = slot.cancels.filter((number) => number <= last)
}
