import { LARGEST_ROW_BYTES } from '../../core/messages/bytes.ts'
import type { Transport } from '../../core/transport.ts'

/**
 * What a row holds besides the bytes that a transport counts: names, and the quotes around headers.
 */
const AROUND_BYTES = 1024 * 1024

/**
 * Rows with more bytes are not read: no transport takes them. A transport without a limit says
 * nothing about that.
 */
export function largestBytes(transports: Iterable<Transport>): number {
  const limits = [...transports]
    .map(({ features }) => features.maxMessageBytes)
    .filter((limit) => Number.isFinite(limit))
  return Math.max(LARGEST_ROW_BYTES, ...limits.map((limit) => limit + AROUND_BYTES))
}
