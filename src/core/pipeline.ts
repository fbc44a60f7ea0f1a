import type { Destination, MessageType, OutgoingMessage } from './messages/message.ts'
import type { TransactionContext } from './transaction.ts'
import type { Delivery, Disposition } from './transport.ts'

/**
 * One step of a pipeline: does something before and after the rest, or does not call `next` at
 * all. What the rest returns is what `next` resolves to.
 */
export interface Step<Context, Result> {
  /** Unique in its pipeline; shown in errors. */
  readonly name: string
  run(context: Context, next: () => Promise<Result>): Promise<Result>
}

/**
 * A message on its way out. Steps of the user run after the headers are set and before the body is
 * encoded.
 */
export interface OutgoingContext {
  readonly type: MessageType
  readonly id: string
  readonly to: Destination
  readonly partitionKey: string | undefined
  readonly delayMs: number | undefined
  /** May be replaced by a step. */
  body: unknown
  /** May be changed by a step; names are lower case. */
  readonly headers: Record<string, string>
  /** Undefined for a direct send. */
  readonly transaction: TransactionContext<unknown> | undefined
}

/** The result of the outgoing pipeline is the message as it will be stored. */
export type OutgoingStep = Step<OutgoingContext, OutgoingMessage>

/** A delivery on its way in. Steps of the user run after decoding, outside the transaction. */
export interface IncomingContext {
  readonly delivery: Delivery
  /** The decoded and validated body; may be replaced by a step. */
  body: unknown
}

export type IncomingStep = Step<IncomingContext, Disposition>
