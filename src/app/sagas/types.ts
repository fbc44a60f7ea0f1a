import type { Given } from '../../core/messages/given.ts'
import type { Envelope, MessageType } from '../../core/messages/message.ts'
import type { HandlerContext } from '../types.ts'

/** A time span; its parts are added. Together from 0 to a year. */
export interface SagaDuration {
  readonly days?: number
  readonly hours?: number
  readonly minutes?: number
  readonly seconds?: number
  readonly milliseconds?: number
}

/** The last argument of what a saga does. Its functions need no `this`. */
export interface SagaContext<Tx> extends HandlerContext<Tx> {
  /** Key of the instance. */
  readonly key: string
  /**
   * Asks for `on.timeout` with this name after that time, in the transaction of the message. An
   * earlier timeout of the same name is replaced. Throws `MERSAL_INVALID_OPTIONS`.
   */
  timeout(this: void, name: string, after: SagaDuration): void
  /** Takes back the timeout with this name, if there is one. */
  cancelTimeout(this: void, name: string): void
  /** Ends the instance: its state and its timeouts go with the transaction. */
  complete(this: void): void
}

/**
 * What becomes of a message whose key has no instance: it is done, it is tried again as after a
 * failure, or it becomes a dead letter at once.
 */
export type SagaMissing = 'ignore' | 'retry' | 'dead'

/** Options of one reaction of a saga. */
export interface SagaReactionOptions {
  /**
   * What becomes of a message for which there is no instance. `ignore`: it counts as handled.
   * `retry`: it is tried again. `dead`: it becomes a dead letter. Default 'ignore'.
   */
  readonly missing?: SagaMissing
}

/** Finds the key of the instance in a message: 1 to 255 bytes of text. */
export type SagaKeyOf<Body> = (body: Body, message: Envelope) => string

/** The next state; nothing leaves it as it is. The state that is given is frozen. */
type Next<State> = State | void | Promise<State | void>

/** What `app.saga` gives to the function that lists what the saga does. */
export interface SagaReactions<State, Tx> {
  /** A message for an instance that exists. */
  <Body>(
    type: MessageType<'command' | 'event', Body>,
    key: SagaKeyOf<Given<Body>>,
    react: (state: State, body: Given<Body>, context: SagaContext<Tx>) => Next<State>,
    options?: SagaReactionOptions,
  ): void
  /**
   * A message that makes an instance if there is none: then `state` is undefined, and the next
   * state must be returned, unless the instance is completed at once.
   */
  start<Body>(
    type: MessageType<'command' | 'event', Body>,
    key: SagaKeyOf<Given<Body>>,
    react: (state: State | undefined, body: Given<Body>, context: SagaContext<Tx>) => Next<State>,
  ): void
  /** A timeout that was asked for with `context.timeout`. */
  timeout(name: string, react: (state: State, context: SagaContext<Tx>) => Next<State>): void
}
