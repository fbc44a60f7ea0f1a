import type { Channel, ConfirmChannel } from 'amqplib'

/** The part of amqplib's channels that it uses itself to write, and that its types do not show. */
interface Inside {
  readonly ch: number
  sendImmediately: (method: number, fields: unknown) => unknown
  readonly connection: {
    readonly channels: readonly ({ readonly buffer: { write(bytes: Buffer): boolean } } | null)[]
    sentSinceLastCheck: boolean
  }
}

/** Class 60 (basic), method 10 (qos). */
const QOS = (60 << 16) | 10

/**
 * `basic.qos` without any limit: a frame of 11 bytes, to which the broker answers, and that changes
 * nothing.
 */
function qosFrame(channel: number): Buffer {
  return Buffer.from([
    1,
    channel >> 8,
    channel & 0xff,
    0,
    0,
    0,
    11,
    0,
    60,
    0,
    10,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0xce,
  ])
}

function insideOf(channel: unknown): Inside | undefined {
  const { ch, connection, sendImmediately } = channel as Partial<Inside>
  const known =
    typeof ch === 'number' &&
    typeof sendImmediately === 'function' &&
    Array.isArray(connection?.channels)
  return known ? (channel as Inside) : undefined
}

/**
 * Makes a question that the broker answers as soon as it has read all that was written before on
 * `written`. It belongs to a channel of its own, since the broker may let the other one wait for a
 * queue; but it is written among the frames of the other one, as each channel of amqplib has a
 * buffer of its own. Where that is not possible, it may overtake what waits in that buffer.
 */
export function questionBehind(written: ConfirmChannel, asking: Channel): () => Promise<unknown> {
  const [before, own] = [insideOf(written), insideOf(asking)]
  if (before !== undefined && own !== undefined) {
    const send = own.sendImmediately
    own.sendImmediately = (method, fields) => {
      const place = before.connection.channels[before.ch]
      if (method !== QOS || place == null) return send.call(own, method, fields)
      before.connection.sentSinceLastCheck = true
      return place.buffer.write(qosFrame(own.ch))
    }
  }
  return async () => asking.prefetch(0)
}
