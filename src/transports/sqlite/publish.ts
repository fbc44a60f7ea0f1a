import { isMersalError, MersalError } from '../../core/errors/errors.ts'
import { destinationKey, type OutgoingMessage } from '../../core/messages/message.ts'
import type { PublishOutcome } from '../../core/transport.ts'
import { toError } from '../../lib/async/abort.ts'
import type { Connection } from '../../sql/sqlite/connection/connection.ts'
import type { Handle } from '../../sql/sqlite/connection/database.ts'
import { isSqliteError } from '../../sql/sqlite/connection/failure.ts'
import { HandOver } from './hand-over.ts'
import {
  confirmed,
  keyOrder,
  refusedForGood,
  sizeOf,
  tooLarge,
  unavailable,
  unknown,
  unroutable,
} from '../shared/outcomes.ts'
import { queueSql } from './statements.ts'

export interface PublishRules {
  readonly maxMessageBytes: number
  readonly eventsWithoutSubscribers: 'refuse' | 'discard'
}

/**
 * Writes all messages of the call in one transaction, shared with other calls of the moment. Never
 * rejects.
 */
export function publishAll(
  connection: Connection,
  rules: PublishRules,
  messages: readonly OutgoingMessage[],
  signal: AbortSignal | undefined,
): Promise<PublishOutcome>[] {
  if (messages.length === 0) return []
  const answers = write(connection, rules, messages, signal)
  return messages.map(async (_, index) => (await answers)[index] as PublishOutcome)
}

async function write(
  connection: Connection,
  rules: PublishRules,
  messages: readonly OutgoingMessage[],
  signal: AbortSignal | undefined,
): Promise<readonly PublishOutcome[]> {
  const all = (outcome: PublishOutcome): PublishOutcome[] => messages.map(() => outcome)
  const inserting = new Inserting(connection, rules)
  let begun = false
  const givenUp = (): PublishOutcome[] =>
    all(
      begun
        ? unknown('the publishing was given up before its messages were known to be on the disk')
        : unavailable('the publishing was given up before it began'),
    )
  const insert = (handle: Handle): PublishOutcome[] => {
    if (signal?.aborted === true) return givenUp()
    begun = true
    return inserting.insertAll(handle, messages)
  }
  const written = connection
    .write(insert, { committed: () => inserting.committed() })
    .catch((error: unknown) => {
      inserting.failed()
      return all(failure(error))
    })
  if (signal === undefined) return written
  return untilAborted(written, signal, () =>
    inserting.isCommitted ? all(notFlushed()) : givenUp(),
  )
}

/** Others see it, but it may not be on the disk yet. */
const notFlushed = (): PublishOutcome => ({
  kind: 'unknown',
  error: new MersalError(
    'MERSAL_COMMIT_UNKNOWN',
    'sqlite queue: the publishing was given up while it was being brought to the disk',
  ),
})

/**
 * What is written, is written within one tick, and then waits for the disk: an abort finds the
 * messages either not begun or perhaps there, so that others may see them already.
 */
async function untilAborted<Answer>(
  written: Promise<Answer>,
  signal: AbortSignal,
  givenUp: () => Answer,
): Promise<Answer> {
  if (signal.aborted) return givenUp()
  const { promise, resolve } = Promise.withResolvers<Answer>()
  const giveUp = (): void => resolve(givenUp())
  signal.addEventListener('abort', giveUp, { once: true })
  try {
    return await Promise.race([written, promise])
  } finally {
    signal.removeEventListener('abort', giveUp)
  }
}

function failure(error: unknown): PublishOutcome {
  const kind = isMersalError(error, 'MERSAL_COMMIT_UNKNOWN') ? 'unknown' : 'unavailable'
  return { kind, error: toError(error) }
}

/** The messages of one call, which may be inserted again after a rollback. */
class Inserting {
  readonly #connection: Connection
  readonly #rules: PublishRules
  readonly #handOver: HandOver
  #queues = new Map<string, readonly string[]>()
  #now = 0
  /** Something waits in a queue. */
  #waiting = false
  isCommitted = false

  constructor(connection: Connection, rules: PublishRules) {
    this.#connection = connection
    this.#rules = rules
    this.#handOver = new HandOver(connection.lock)
  }

  insertAll(handle: Handle, messages: readonly OutgoingMessage[]): PublishOutcome[] {
    this.#queues = new Map()
    this.#now = this.#connection.settings.clock.now()
    this.#waiting = false
    this.#handOver.restart()
    const order = keyOrder()
    return messages.map((message) => {
      const outcome = order.before(message) ?? this.#insert(handle, message)
      order.note(message, outcome)
      return outcome
    })
  }

  committed(): void {
    this.isCommitted = true
    this.#handOver.committed()
    if (this.#waiting) this.#connection.notify('queue')
  }

  failed(): void {
    this.#handOver.restart()
  }

  #insert(handle: Handle, message: OutgoingMessage): PublishOutcome {
    const { maxMessageBytes, eventsWithoutSubscribers } = this.#rules
    const size = sizeOf(message)
    if (size > maxMessageBytes) return tooLarge(size, maxMessageBytes)
    const queues = this.#queuesOf(handle, message)
    if (queues.length === 0)
      return message.to.kind === 'topic' && eventsWithoutSubscribers === 'discard'
        ? confirmed
        : unroutable(message.to)
    try {
      for (const queue of queues) this.#insertInto(handle, queue, message)
      return confirmed
    } catch (error) {
      if (isSqliteError(error)) throw error
      // A field that is no text or no bytes: the fault of this message, not of the database.
      return refusedForGood(`the message cannot be stored: ${toError(error).message}`, error)
    }
  }

  #queuesOf(handle: Handle, { to }: OutgoingMessage): readonly string[] {
    const key = destinationKey(to)
    let names = this.#queues.get(key)
    if (names === undefined) {
      const sql = to.kind === 'queue' ? queueSql.queue : queueSql.subscribers
      names = handle.all<{ name: string }>(sql, { name: to.name }).map((row) => row.name)
      this.#queues.set(key, names)
    }
    return names
  }

  /** Into the hands of an idle consumer, else at the end of the queue. */
  #insertInto(handle: Handle, queue: string, message: OutgoingMessage): void {
    if (this.#handOver.insert(handle, queue, message, this.#now)) return
    handle.run(queueSql.insert, {
      queue,
      dueAt: Math.trunc(this.#now),
      id: message.id,
      type: message.type,
      partitionKey: message.partitionKey ?? null,
      headers: JSON.stringify(message.headers),
      body: message.body,
    })
    this.#waiting = true
  }
}
