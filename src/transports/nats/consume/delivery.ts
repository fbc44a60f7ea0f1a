import type { Msg } from '@nats-io/transport-node'

/** What JetStream tells of a message that it hands out. */
export interface Arrival {
  /** Where it is acknowledged. */
  readonly reply: string
  /** Its place in the stream. */
  readonly sequence: number
  /** How often it was handed out, this time included. */
  readonly delivered: number
  /** Names this message even if the stream was deleted and made again. */
  readonly key: string
  readonly message: Msg
}

/**
 * `$JS.ACK.stream.consumer.delivered.sequence.order.time.pending`, and from newer servers with
 * domain and account before the stream. Undefined if it is not from a consumer.
 */
export function arrivalOf(message: Msg): Arrival | undefined {
  const tokens = (message.reply ?? '').split('.')
  if (tokens[0] !== '$JS' || tokens[1] !== 'ACK' || tokens.length < 9) return undefined
  const [delivered = '', sequence = '', , time = ''] = tokens.slice(tokens.length === 9 ? 4 : 6)
  const known = { delivered: Number(delivered), sequence: Number(sequence) }
  if (!Number.isSafeInteger(known.delivered) || !Number.isSafeInteger(known.sequence))
    return undefined
  return { ...known, reply: message.reply as string, key: `${sequence}-${time}`, message }
}
