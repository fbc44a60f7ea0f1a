import type { ErrorCode } from '../../src/core/errors/errors.ts'
import type { OutgoingMessage } from '../../src/core/messages/message.ts'
import type { CommandType, EventType, Sender } from '../../src/index.ts'
import type { Place } from './places.ts'

/** How an input ended: refused by a `MersalError`, or taken and given back byte for byte. */
export type Verdict = 'refused' | 'round trip'

/** Types that every app of this family handles. */
export interface Types {
  readonly Keep: CommandType<unknown>
  readonly Kept: EventType<unknown>
}

/** What an application could do in its transaction. Resolves to the id of the message. */
export type Send = (sender: Sender, types: Types) => Promise<string>

/**
 * An input that goes the whole road: insert, relay, broker, handler, dead letters, their listing.
 */
export interface Travelling {
  readonly name: string
  /** Undefined: on every place. */
  readonly on?: (place: Place) => boolean
  /** Makes the type that this input is about; it is handled by the app if that succeeds. */
  readonly type?: () => CommandType<unknown> | EventType<unknown>
  readonly send?: Send
  /** Of `send`: it arrives, or what refuses it. */
  readonly ends?: 'arrives' | ErrorCode
  /**
   * A row as a program of another kind could write it. It may be refused, handled, or given up:
   * never lost, never changed.
   */
  readonly stored?: Partial<OutgoingMessage>
}

/** An input that is judged where it is given. */
export interface Trial {
  readonly name: string
  /** Undefined: on every place. */
  readonly on?: (place: Place) => boolean
  /** Throws if anything is wrong. */
  readonly run: (place: Place) => Promise<Verdict> | Verdict
}

export interface Result {
  readonly generator: string
  readonly adapter: string
  readonly input: string
  readonly verdict: Verdict | 'failed'
  readonly why?: string
}
