import type { Envelope } from '../../core/messages/message.ts'

/** One message in one queue. */
export interface QueueEntry {
  readonly message: Envelope
  readonly partitionKey: string | undefined
  /** Deliveries so far. */
  attempts: number
  /** Since when its handler has been asking for it again later. */
  postponedSince?: number
}
