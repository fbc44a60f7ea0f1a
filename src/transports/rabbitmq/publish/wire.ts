import type { ConfirmChannel, Options } from 'amqplib'
import { boundOf, FRAME_OVERHEAD, methodFrame, putMessage } from './frames.ts'
import { checkHeaderFrame } from './header-size.ts'

/** What is written to one place, beside the content. */
export interface Place {
  readonly exchange: string
  readonly routingKey: string
}

/** The part of amqplib's channel that it uses itself to write, and that its types do not show. */
interface Inside {
  readonly ch: number
  readonly sendMessage: unknown
  /** Keeps its own record of confirms in step; it has no other use here. */
  pushConfirmCallback(callback: undefined): void
  readonly connection: {
    readonly sendMessage: unknown
    readonly frameMax?: unknown
    readonly channels: readonly ({ readonly buffer: Outlet } | null)[]
    /** The socket. */
    readonly stream?: Partial<Outlet> & { readonly writableNeedDrain?: boolean }
    sentSinceLastCheck: boolean
  }
}

interface Outlet {
  write(bytes: Buffer): boolean
  /** Bytes that wait in it, on either side. */
  readonly readableLength?: number
  readonly writableLength?: number
}

/** Messages of one call go in pieces of this size. */
const PIECE_BYTES = 65_536
/** Above this a message costs so much that how it is written does not matter. */
const LARGEST_BODY = 16_384
const MOST_PLACES = 1000

/**
 * Undefined if this client is built in another way, or if somebody watches its `publish`, as
 * OpenTelemetry does: then that writes.
 */
function insideOf(channel: ConfirmChannel): Inside | undefined {
  const { publish } = channel as unknown as { readonly publish: object }
  if ('__wrapped' in publish) return undefined
  const { ch, connection } = channel as unknown as Partial<Inside>
  const keepsRecord =
    'pushConfirmCallback' in channel && typeof channel.pushConfirmCallback === 'function'
  const known =
    typeof ch === 'number' &&
    keepsRecord &&
    typeof connection === 'object' &&
    Array.isArray(connection.channels)
  return known && typeof connection.channels[ch]?.buffer?.write === 'function'
    ? (channel as unknown as Inside)
    : undefined
}

/**
 * The client carries what is written on a channel to the socket in its next turn. If nothing of
 * this channel waits, and the socket takes more, it goes there at once.
 */
function write(bytes: Buffer, buffer: Outlet, socket: Inside['connection']['stream']): void {
  const nothingWaits = buffer.readableLength === 0 && buffer.writableLength === 0
  if (nothingWaits && socket?.writableNeedDrain === false && socket.write !== undefined)
    socket.write(bytes)
  else buffer.write(bytes)
}

/**
 * Writes messages on one channel, each persistent and `mandatory`, in the order of the calls. Those
 * of the plain form are encoded here, and all that are written `together` leave in one piece;
 * others go through the client's `publish`. See ADR 0137.
 */
export class Wire {
  readonly #channel: ConfirmChannel
  readonly #inside: Inside | undefined
  readonly #sendOfChannel: unknown
  readonly #sendOfConnection: unknown
  readonly #largestBody: number
  /** Infinity if the client does not tell. */
  readonly #frameMax: number
  /** The frame with the method is the same for all messages to one place. */
  readonly #methods = new Map<string, Map<string, Buffer>>()
  #places = 0
  /** Messages that are about to be written together; 0: each by itself. */
  #expected = 0
  #piece: Buffer | undefined
  #used = 0

  constructor(channel: ConfirmChannel) {
    this.#channel = channel
    this.#inside = insideOf(channel)
    this.#sendOfChannel = this.#inside?.sendMessage
    this.#sendOfConnection = this.#inside?.connection.sendMessage
    const { frameMax } = (channel as unknown as Partial<Inside>).connection ?? {}
    this.#frameMax = typeof frameMax === 'number' ? frameMax : Number.POSITIVE_INFINITY
    this.#largestBody = Math.min(
      LARGEST_BODY,
      (typeof frameMax === 'number' ? frameMax : 4096) - FRAME_OVERHEAD,
    )
  }

  /**
   * Throws, without having written anything, if the message cannot be encoded or the channel is
   * closed.
   */
  write({ exchange, routingKey }: Place, content: Buffer, properties: Options.Publish): void {
    const bound =
      this.#open() && content.length <= this.#largestBody ? boundOf(properties) : undefined
    const method = bound === undefined ? undefined : this.#method(exchange, routingKey)
    if (bound === undefined || method === undefined) {
      checkHeaderFrame(properties, this.#frameMax)
      this.flush()
      this.#channel.publish(exchange, routingKey, content, {
        ...properties,
        mandatory: true,
        persistent: true,
      })
      return
    }
    const inside = this.#inside as Inside
    const piece = this.#room(method.length + bound + content.length + 3 * FRAME_OVERHEAD)
    this.#used = putMessage(piece, this.#used, { method, channel: inside.ch, properties, content })
    inside.pushConfirmCallback(undefined)
    if (this.#expected === 0) this.flush()
  }

  /** What `work` writes, about `count` messages, leaves in one piece. */
  together<Result>(count: number, work: () => Result): Result {
    this.#expected = count
    try {
      return work()
    } finally {
      this.#expected = 0
      this.flush()
    }
  }

  /** Hands over what has been written so far. */
  flush(): void {
    const [piece, used] = [this.#piece, this.#used]
    if (piece === undefined) return
    this.#piece = undefined
    this.#used = 0
    // On a channel that has been closed meanwhile the broker would take frames for a violation of
    // the protocol.
    if (used === 0 || this.#inside === undefined || !this.#open()) return
    const { ch, connection } = this.#inside
    const buffer = connection.channels[ch]?.buffer
    if (buffer !== undefined) write(piece.subarray(0, used), buffer, connection.stream)
    connection.sentSinceLastCheck = true
  }

  /** amqplib replaces these functions when the channel, or the connection, begins to close. */
  #open(): boolean {
    const inside = this.#inside
    if (inside === undefined || inside.sendMessage !== this.#sendOfChannel) return false
    return (
      inside.connection.sendMessage === this.#sendOfConnection &&
      inside.connection.channels[inside.ch] != null
    )
  }

  #room(bytes: number): Buffer {
    if (this.#piece !== undefined && this.#used + bytes > this.#piece.length) this.flush()
    // As large as needed: a message by itself must not cost a whole piece.
    this.#piece ??= Buffer.allocUnsafe(
      Math.max(bytes, Math.min(PIECE_BYTES, bytes * this.#expected)),
    )
    return this.#piece
  }

  #method(exchange: string, routingKey: string): Buffer | undefined {
    const known = this.#methods.get(exchange)?.get(routingKey)
    if (known !== undefined) return known
    const made = methodFrame(this.#inside?.ch as number, exchange, routingKey)
    if (made === undefined) return undefined
    if (this.#places === MOST_PLACES) {
      this.#methods.clear()
      this.#places = 0
    }
    this.#places++
    let ofExchange = this.#methods.get(exchange)
    if (ofExchange === undefined) this.#methods.set(exchange, (ofExchange = new Map()))
    ofExchange.set(routingKey, made)
    return made
  }
}
