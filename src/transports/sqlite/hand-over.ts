import { randomUUID } from 'node:crypto'
import type { OutgoingMessage } from '../../core/messages/message.ts'
import { byteLength } from '../../lib/text.ts'
import type { Handle } from '../../sql/sqlite/connection/database.ts'
import type { TakenRow } from './taken.ts'
import { queueSql } from './statements.ts'

/** A consumer of this process. */
export interface Hands {
  /** How many messages it could take, while none is waiting for it. */
  idle(): number
  /** Until when the message is held in the table, and by the monotonic clock. */
  holdTimes(): { readonly visibleAt: number; readonly until: number }
  handOver(row: TakenRow, until: number): void
}

interface Registered {
  readonly hands: Hands
  /** Rows that are inserted for it, but not committed yet. */
  promised: number
}

/** By the lock of the file, then by the name of the queue. */
const consumers = new WeakMap<object, Map<string, Set<Registered>>>()

/** Returns how to end that. */
export function offerHands(file: object, queue: string, hands: Hands): () => void {
  const queues = consumers.get(file) ?? new Map<string, Set<Registered>>()
  consumers.set(file, queues)
  const all = queues.get(queue) ?? new Set()
  queues.set(queue, all)
  const registered = { hands, promised: 0 }
  all.add(registered)
  return () => {
    all.delete(registered)
    if (all.size === 0) queues.delete(queue)
  }
}

type Content = Pick<OutgoingMessage, 'id' | 'type' | 'headers' | 'body' | 'partitionKey'>

/**
 * Gives the messages of one call to idle consumers of this process, with the very insert that
 * publishes them. They get them with the commit, and not before. Nothing of this is a promise:
 * whatever goes wrong leaves a message that is held for a while, as if its consumer had died.
 */
export class HandOver {
  readonly #file: object | undefined
  #given: { readonly to: Registered; readonly row: TakenRow; readonly until: number }[] = []

  constructor(file: object | undefined) {
    this.#file = file
  }

  /** What was inserted before has been rolled back. */
  restart(): void {
    for (const { to } of this.#given) to.promised -= 1
    this.#given = []
  }

  /** Inserts the message for an idle consumer, if there is one and nothing of its key waits. */
  insert(handle: Handle, queue: string, message: Content, now: number): boolean {
    const to = this.#idle(queue)
    if (to === undefined) return false
    const { id, type, body, partitionKey = null } = message
    if (partitionKey !== null && handle.get(queueSql.keyWaits, { queue, partitionKey }))
      return false
    const { visibleAt, until } = to.hands.holdTimes()
    const token = randomUUID()
    const headers = JSON.stringify(message.headers)
    const content = { id, type, headers, body }
    const times = { until: visibleAt, dueAt: Math.trunc(now) }
    const { position } = handle.run(queueSql.insertTaken, {
      ...content,
      ...times,
      queue,
      partitionKey,
      token,
    })
    to.promised += 1
    const row = { ...firstTaken(content), position: Number(position), token }
    this.#given.push({ to, row, until })
    return true
  }

  /** What was inserted has been committed. */
  committed(): void {
    const given = this.#given
    this.restart()
    for (const { to, row, until } of given) to.hands.handOver(row, until)
  }

  #idle(queue: string): Registered | undefined {
    const all = this.#file === undefined ? undefined : consumers.get(this.#file)?.get(queue)
    let [best, most]: [Registered | undefined, number] = [undefined, 0]
    for (const each of all ?? []) {
      const free = each.hands.idle() - each.promised
      if (free > most) [best, most] = [each, free]
    }
    return best
  }
}

/** As a consumer takes it for the first time. */
function firstTaken(
  content: Pick<TakenRow, 'id' | 'type' | 'headers' | 'body'>,
): Omit<TakenRow, 'position' | 'token'> {
  const { type, headers, body } = content
  return {
    ...content,
    attempts: 1,
    bytes: body.length + byteLength(headers) + byteLength(type),
    // Whoever publishes keeps his own, and may publish it again.
    body: body.slice(),
    postponed_since: null,
    dead_reason: null,
    dead_error: null,
  }
}
