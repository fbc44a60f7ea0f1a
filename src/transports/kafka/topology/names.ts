import { isName } from '../../../core/messages/validation.ts'
import { invalidOption } from '../../../core/options.ts'

const LONGEST_TOPIC = 249

/** One token for one name, of characters that a topic may have, and no other name has the same. */
export function tokenOf(name: string): string {
  return name.replaceAll(/[_/:]/g, (mark) => `_${mark.charCodeAt(0).toString(16)}`)
}

export function nameOf(token: string): string {
  return token.replaceAll(/_([0-9a-f]{2})/g, (_, code: string) =>
    String.fromCharCode(Number.parseInt(code, 16)),
  )
}

/** What the topics and groups of one prefix are called. */
export interface Names {
  /** The subscriptions. */
  readonly topics: string
  readonly queues: string
  queueTopic(queue: string): string
  retryTopic(queue: string): string
  deadTopic(queue: string): string
  /** Of the consumers of the queue. */
  groupOf(queue: string): string
  /** The queue of a topic; undefined if it is none of ours. */
  queueOf(topic: string): string | undefined
}

export function namesOf(prefix: string): Names {
  const topic = (kind: string, queue: string): string => {
    const name = `${prefix}.${kind}.${tokenOf(queue)}`
    if (name.length > LONGEST_TOPIC)
      throw invalidOption('queue', `its topic would be longer than ${LONGEST_TOPIC} characters`)
    return name
  }
  const queues = `${prefix}.queue.`
  return {
    topics: `${prefix}.topics`,
    queues,
    queueTopic: (queue) => topic('queue', queue),
    retryTopic: (queue) => topic('retry', queue),
    deadTopic: (queue) => topic('dead', queue),
    groupOf: (queue) => topic('queue', queue),
    queueOf(name) {
      const queue = nameOf(name.slice(queues.length))
      return name.startsWith(queues) && isName(queue) ? queue : undefined
    },
  }
}
