import type { DeadLetterBox, DeadReason } from '../dead-letter.ts'
import type { OutgoingMessage } from '../messages/message.ts'

/** Which aggregate. A collection is 1 to 200 of the characters of names, an id any text. */
export interface DocumentKey {
  readonly collection: string
  readonly id: string
}

/** The message whose handler changes a document. */
export interface DocumentHandling {
  /** Who handles it. The same message may be handled once by each consumer. */
  readonly consumer: string
  readonly messageId: string
}

export interface LoadedDocument {
  /** Undefined if there is none, or if it was removed. */
  readonly state: Uint8Array | undefined
  /** Counts the changes, also over a removal. 0: it has never been there. */
  readonly version: number
  /** This very message has changed it before. */
  readonly handled: boolean
}

export interface DocumentChange {
  readonly key: DocumentKey
  /** The version that was loaded. */
  readonly version: number
  /** Undefined removes it; messages that wait are kept. */
  readonly state: Uint8Array | undefined
  /** Published later, in this order, behind those that wait already. */
  readonly messages: readonly OutgoingMessage[]
  readonly handling?: DocumentHandling | undefined
}

/** `conflict`: somebody has changed it since it was loaded. `handled`: by this very message. */
export type DocumentSaved = 'saved' | 'conflict' | 'handled'

/** A document with messages, held for one relay. */
export interface HeldDocument {
  readonly key: DocumentKey
  /** How often its first message has been held, this time included. */
  readonly attempts: number
  /** What the last settlement has noted of the attempts of its first message. */
  readonly history?: string
  /** The first ones that wait, in their order; at least one. */
  readonly messages: readonly OutgoingMessage[]
}

export interface DocumentHold {
  /** Most documents. */
  readonly limit: number
  /** Nobody else gets them before this time has passed, in milliseconds. */
  readonly holdMs: number
  /** Fences: only whoever has it may settle. */
  readonly token: string
}

export interface DocumentSettlement {
  readonly key: DocumentKey
  readonly token: string
  /** How many messages, counted from the first, are confirmed: they are removed. */
  readonly confirmed: number
  /** The one behind them is given up: it becomes a dead letter. */
  readonly dead?:
    | {
        readonly reason: DeadReason
        readonly error: string
        /** An attempt ended without an answer. Default false. */
        readonly maybePublished?: boolean
      }
    | undefined
  /** Attempts that the one that is the first then has had. */
  readonly attempts: number
  /**
   * Text to be noted of the attempts of the one behind the confirmed ones, in place of what was
   * noted; with `dead` it goes into the dead letter. Undefined: what was noted stays, unless that
   * one is gone.
   */
  readonly history?: string | undefined
  /** Not held again before this time, in milliseconds. */
  readonly retryMs: number
}

/**
 * A database that changes one record at a time. Messages live in the record of the aggregate, so
 * that one write stores both or none.
 *
 * An implementation passes the documents suite of `mersal/testing`.
 */
export interface DocumentStorage {
  load(key: DocumentKey, handling?: DocumentHandling): Promise<LoadedDocument>
  /**
   * One atomic write, and nothing unless the version is still the one that was loaded. Rejects with
   * `MERSAL_COMMIT_UNKNOWN` if nobody knows whether it was written.
   */
  save(change: DocumentChange): Promise<DocumentSaved>
  /**
   * Holds documents with messages that are due, those that have waited longest first, and counts an
   * attempt. Uses an index: its cost does not grow with documents that have no messages.
   */
  findWithMessages(hold: DocumentHold): Promise<readonly HeldDocument[]>
  /** One atomic write. False, and nothing is changed, if the token is not that of the hold. */
  removeMessages(settlement: DocumentSettlement): Promise<boolean>
  /** Retried ones go behind the messages that wait in their document. */
  readonly deadLetters: DeadLetterBox
}
