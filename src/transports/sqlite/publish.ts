import { isMersalError } from '../../core/errors/errors.ts'
import { destinationKey, type OutgoingMessage } from '../../core/messages/message.ts'
import type { PublishOutcome } from '../../core/transport.ts'
import { toError } from '../../lib/async/abort.ts'
import type { Connection } from '../../sql/sqlite/connection/connection.ts'
import type { Handle } from '../../sql/sqlite/connection/database.ts'
import { isSqliteError } from '../../sql/sqlite/connection/failure.ts'
import {
  confirmed,
  keyOrder,
  refusedForGood,
  sizeOf,
  tooLarge,
  unavailable,
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
  const givenUp = (): PublishOutcome[] =>
    all(unavailable('the publishing was given up before it began'))
  const written = connection
    .write((handle) =>
      signal?.aborted === true
        ? givenUp()
        : insertAll(handle, rules, messages, connection.settings.clock.now()),
    )
    .catch((error: unknown) => all(failure(error)))
  return signal === undefined ? written : untilAborted(written, signal, givenUp)
}

/**
 * What is written, is written within one tick: an abort finds the messages either committed or not
 * begun.
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

function insertAll(
  handle: Handle,
  rules: PublishRules,
  messages: readonly OutgoingMessage[],
  now: number,
): PublishOutcome[] {
  const queues = new Map<string, readonly string[]>()
  const order = keyOrder()
  return messages.map((message) => {
    const outcome =
      order.before(message) ??
      insert(handle, rules, queuesOf(handle, message, queues), message, now)
    order.note(message, outcome)
    return outcome
  })
}

function queuesOf(
  handle: Handle,
  { to }: OutgoingMessage,
  known: Map<string, readonly string[]>,
): readonly string[] {
  const key = destinationKey(to)
  let names = known.get(key)
  if (names === undefined) {
    const sql = to.kind === 'queue' ? queueSql.queue : queueSql.subscribers
    names = handle.all<{ name: string }>(sql, { name: to.name }).map((row) => row.name)
    known.set(key, names)
  }
  return names
}

function insert(
  handle: Handle,
  rules: PublishRules,
  queues: readonly string[],
  message: OutgoingMessage,
  now: number,
): PublishOutcome {
  const size = sizeOf(message)
  if (size > rules.maxMessageBytes) return tooLarge(size, rules.maxMessageBytes)
  if (queues.length === 0)
    return message.to.kind === 'topic' && rules.eventsWithoutSubscribers === 'discard'
      ? confirmed
      : unroutable(message.to)
  try {
    for (const queue of queues) insertInto(handle, queue, message, now)
    return confirmed
  } catch (error) {
    if (isSqliteError(error)) throw error
    // A field that is no text or no bytes: the fault of this message, not of the database.
    return refusedForGood(`the message cannot be stored: ${toError(error).message}`, error)
  }
}

/** Puts one message at the end of the queue. */
function insertInto(
  handle: Handle,
  queue: string,
  message: Pick<OutgoingMessage, 'id' | 'type' | 'headers' | 'body' | 'partitionKey'>,
  now: number,
): void {
  handle.run(queueSql.insert, {
    queue,
    dueAt: Math.trunc(now),
    id: message.id,
    type: message.type,
    partitionKey: message.partitionKey ?? null,
    headers: JSON.stringify(message.headers),
    body: message.body,
  })
}
