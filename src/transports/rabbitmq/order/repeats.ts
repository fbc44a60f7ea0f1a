import type { ConsumeMessage } from 'amqplib'
import { contentKey, headerTable, ownHeaders } from '../publish/envelope.ts'

const MOST = 10_000

/**
 * Knows the latest messages of a partition, so that a copy which the splitter had to write again is
 * told from them. Returns whether it is one.
 */
export function repeats(): (message: ConsumeMessage) => boolean {
  const seen = new Set<string>()
  return (message) => {
    const { messageId } = message.properties
    if (typeof messageId !== 'string' || messageId === '') return false
    const key = contentKey(messageId, message.content)
    if (seen.has(key)) return headerTable(message)[ownHeaders.again] !== undefined
    seen.add(key)
    const [oldest] = seen
    if (seen.size > MOST && oldest !== undefined) seen.delete(oldest)
    return false
  }
}
