import type { Options } from 'amqplib'
import { MersalError } from '../../../core/errors/errors.ts'
import { byteLength } from '../../../lib/text.ts'
import { FRAME_OVERHEAD } from './frames.ts'

/** Class, weight, size of the body and the flags. */
const FIXED = 14
const shortTexts = [
  'contentType',
  'contentEncoding',
  'correlationId',
  'replyTo',
  'expiration',
  'messageId',
  'type',
  'userId',
  'appId',
  'clusterId',
] as const

function numberBytes(value: number): number {
  if (
    value >= 0x8000000000000000 ||
    (Math.abs(value) < 0x4000000000000 && Math.floor(value) !== value)
  )
    return 8
  if (value < 0x80 && value >= -0x80) return 1
  if (value < 0x8000 && value >= -0x8000) return 2
  return value < 0x80000000 && value >= -0x80000000 ? 4 : 8
}

const typedBytes: Readonly<Record<string, number>> = {
  byte: 1,
  int8: 1,
  short: 2,
  int16: 2,
  int: 4,
  int32: 4,
  float: 4,
  float32: 4,
  decimal: 5,
}

/** What the client makes of a value in a table, without the byte that tells its type. */
function valueBytes(value: unknown): number {
  if (typeof value === 'string') return 4 + byteLength(value)
  if (typeof value === 'number') return numberBytes(value)
  if (typeof value === 'boolean') return 1
  if (value === null || typeof value !== 'object') return 0
  if (Object.hasOwn(value, '!')) return typedBytes[String((value as { '!': unknown })['!'])] ?? 8
  if (Buffer.isBuffer(value)) return 4 + value.length
  if (Array.isArray(value))
    return value.reduce((sum: number, each: unknown) => sum + 1 + valueBytes(each), 4)
  return tableBytes(value as Readonly<Record<string, unknown>>)
}

function tableBytes(table: Readonly<Record<string, unknown>>): number {
  let bytes = 4
  for (const name in table) {
    if (table[name] !== undefined) bytes += 1 + byteLength(name) + 1 + valueBytes(table[name])
  }
  return bytes
}

/** Size of the frame with the properties of a persistent message. */
export function headerFrameBytes(properties: Options.Publish): number {
  let bytes =
    FRAME_OVERHEAD +
    FIXED +
    tableBytes((properties.headers ?? {}) as Readonly<Record<string, unknown>>) +
    1
  for (const name of shortTexts) {
    const value = (properties as Readonly<Record<string, unknown>>)[name]
    if (typeof value === 'string') bytes += 1 + byteLength(value)
  }
  if (properties.priority !== undefined) bytes += 1
  if (properties.timestamp !== undefined) bytes += 8
  return bytes
}

/**
 * The properties must fit into one frame, whose size client and broker agree on when they connect;
 * a larger one ends the connection.
 */
export function checkHeaderFrame(properties: Options.Publish, frameMax: number): void {
  const bytes = headerFrameBytes(properties)
  if (bytes <= frameMax) return
  const text = `the headers and properties take ${bytes} bytes, and one frame of AMQP holds ${frameMax} (frame_max): shorten them, or raise frame_max of RabbitMQ and of the connection`
  throw new MersalError('MERSAL_TOO_LARGE', text, {
    details: { bytes, limit: frameMax, part: 'headers' },
  })
}
