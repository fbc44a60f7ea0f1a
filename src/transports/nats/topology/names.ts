import { isName } from '../../../core/messages/validation.ts'

/**
 * Marks that a name of ours may hold and a token of a subject, or the name of a stream, may not.
 */
const FOR: Readonly<Record<string, string>> = { '.': '~', '/': '+', ':': '=' }
const BACK: Readonly<Record<string, string>> = { '~': '.', '+': '/', '=': ':' }

/** One token for one name, and no other name has the same. */
export function tokenOf(name: string): string {
  return name.replaceAll(/[./:]/g, (mark) => FOR[mark] as string)
}

export function nameOf(token: string): string {
  return token.replaceAll(/[~+=]/g, (mark) => BACK[mark] as string)
}

/** Of the one durable consumer of each queue. */
export const CONSUMER = 'mersal'

/** Of the process that splits a queue that is read in order, and of those that read its parts. */
export const SPLIT = 'split'

/** What the streams and subjects of one prefix are called. */
export interface Names {
  readonly prefix: string
  readonly topics: string
  readonly dead: string
  readonly state: string
  streamOf(queue: string): string
  /** The queue of a stream; undefined if it is no stream of a queue of ours. */
  queueOf(stream: string): string | undefined
  subjectOf(queue: string): string
  /** Of a queue that is about to be removed. */
  closedOf(queue: string): string
  subscription(topic: string, queue: string): string
  /** Subjects of all subscriptions to a topic. */
  ofTopic(topic: string): string
  /** Subjects of all subscriptions of a queue. */
  ofQueue(queue: string): string
  deadOf(queue: string): string
  stateOf(queue: string, message: string): string
  /** What a queue that is read in order is split into. */
  orderOf(queue: string): string
  partitionOf(queue: string, index: number): string
  /** The record of a process that reads the queue in order; of all of them with `*`. */
  memberOf(queue: string, member: string): string
  /** How far a part of the queue was handed out by those who read it before. */
  markOf(queue: string, part: string): string
}

export function namesOf(prefix: string): Names {
  const queues = `${prefix}-queue-`
  return {
    prefix,
    topics: `${prefix}-topics`,
    dead: `${prefix}-dead`,
    state: `${prefix}-state`,
    streamOf: (queue) => `${queues}${tokenOf(queue)}`,
    queueOf(stream) {
      const name = nameOf(stream.slice(queues.length))
      return stream.startsWith(queues) && isName(name) ? name : undefined
    },
    subjectOf: (queue) => `${prefix}.queue.${tokenOf(queue)}`,
    closedOf: (queue) => `${prefix}.closed.${tokenOf(queue)}`,
    subscription: (topic, queue) => `${prefix}.topic.${tokenOf(topic)}.${tokenOf(queue)}`,
    ofTopic: (topic) => `${prefix}.topic.${tokenOf(topic)}.*`,
    ofQueue: (queue) => `${prefix}.topic.*.${tokenOf(queue)}`,
    deadOf: (queue) => `${prefix}.dead.${tokenOf(queue)}`,
    stateOf: (queue, message) => `${prefix}.state.${tokenOf(queue)}.${message}`,
    orderOf: (queue) => `${prefix}-order-${tokenOf(queue)}`,
    partitionOf: (queue, index) => `${prefix}.order.${tokenOf(queue)}.${index}`,
    // No name of a queue has this mark.
    memberOf: (queue, member) => `${prefix}.state.${tokenOf(queue)}@members.${member}`,
    markOf: (queue, part) => `${prefix}.state.${tokenOf(queue)}@marks.${part}`,
  }
}
