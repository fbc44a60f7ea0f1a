import type { Envelope, OutgoingMessage } from './message.ts'

/** How messages look to programs that do not know Mersal, and how theirs are read. */
export interface WireFormat {
  /** Headers that a message gets when it is sent, beside those of Mersal; names in lower case. */
  headers(message: OutgoingMessage): Readonly<Record<string, string>>
  /**
   * The message that a delivery is in this format; undefined if it is none. What it throws makes a
   * dead letter (`malformed`).
   */
  read(message: Envelope): Envelope | undefined
}

/** What a foreign message is. Without an id of the sender it gets a new one with each delivery. */
export type ForeignType = string | { readonly type: string; readonly id: string }

/** Knows foreign messages, which come without a type. */
export type TypeOf = (message: Envelope) => ForeignType | undefined
