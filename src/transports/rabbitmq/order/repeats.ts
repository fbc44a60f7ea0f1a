import type { ConsumeMessage } from 'amqplib'
import { contentKey, headerTable, ownHeaders } from '../publish/envelope.ts'

const MOST = 10_000

/**
 * Knows the latest messages of a partition that are in hand or were handled, so that a copy which
 * the splitter had to write again is told from them.
 */
export interface Repeats {
  /** Whether it is such a copy. From now on it is known. */
  meet(message: ConsumeMessage): boolean
  /**
   * It leaves the partition without having been handled: whatever comes with its id from now on is
   * the message itself, that somebody has put back.
   */
  forget(message: ConsumeMessage): void
}

export function createRepeats(): Repeats {
  const seen = new Set<string>()
  return {
    meet(message) {
      const key = keyOf(message)
      if (key === undefined) return false
      if (seen.has(key)) return headerTable(message)[ownHeaders.again] !== undefined
      seen.add(key)
      const [oldest] = seen
      if (seen.size > MOST && oldest !== undefined) seen.delete(oldest)
      return false
    },
    forget(message) {
      const key = keyOf(message)
      if (key !== undefined) seen.delete(key)
    },
  }
}

function keyOf({ properties: { messageId }, content }: ConsumeMessage): string | undefined {
  const known = typeof messageId === 'string' && messageId !== ''
  return known ? contentKey(messageId, content) : undefined
}
