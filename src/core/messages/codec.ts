import type { Logger } from '../telemetry.ts'

/**
 * Changes the bytes of a body on their way out, and back on their way in: encryption, compression,
 * a store for large bodies. It works on what the serializer wrote. An outbox, a relay and a broker
 * see its result only.
 */
export interface BodyCodec {
  /**
   * Names it in the header `body-encoding` of each message that it has changed: lower-case letters,
   * digits, '-' and '.'. A receiver finds by it what to undo.
   */
  readonly name: string
  /** True for one that must see the bytes after all others. Default false. */
  readonly last?: boolean
  /**
   * Returns the bytes that travel, or undefined to leave this body alone. What it throws fails the
   * send.
   */
  encode(
    body: Uint8Array,
    about: EncodedMessage,
  ): Uint8Array | undefined | Promise<Uint8Array | undefined>
  /**
   * Returns the bytes as they were. Throws `MERSAL_UNAVAILABLE` with `retryAfterMs` in its details
   * if it cannot tell now: the message comes again after that, uncharged. Any other error makes it
   * a dead letter.
   */
  decode(body: Uint8Array, about: DecodedMessage): Uint8Array | Promise<Uint8Array>
}

/** What a codec may know of a message. */
export interface EncodedMessage {
  readonly id: string
  readonly type: string
  readonly logger: Logger
}

export interface DecodedMessage extends EncodedMessage {
  /** Aborts when the transport has lost the message, or the app is stopped by force. */
  readonly signal: AbortSignal
}
