import type { OutgoingMessage } from '../../core/messages/message.ts'
import type { RunStatement, QueueBesideOutbox } from '../../core/queue-beside-outbox.ts'
import { placeOf } from '../../sql/postgres/pool/place.ts'
import { checkBodySize, partsOf } from '../../sql/parts.ts'
import type { Connection } from './connection.ts'
import { delayOf } from '../queues/delay.ts'
import { unstorable } from '../queues/unstorable.ts'
import { encode } from './encode.ts'
import { idsOf, PUT_MESSAGES } from './publish.ts'

/** Into the queue inside the transaction of an outbox in the same schema. See ADR 0061. */
export function queueBesideOutbox(connection: Connection): QueueBesideOutbox {
  /** Where each message went, for as long as somebody holds it. */
  const queuesOf = new WeakMap<OutgoingMessage, readonly number[]>()
  return {
    async place() {
      await connection.ready()
      return placeOf(connection.own, connection.settings.schema)
    },
    async put(query, messages, keys) {
      const taken = new Set<OutgoingMessage>()
      const held = new Set<string>()
      for (const message of messages) checkBodySize(message)
      for (const part of partsOf(messages, PUT_MESSAGES)) {
        const some = part.filter(
          (message) =>
            !held.has(message.partitionKey ?? '') &&
            unstorable(message, { takesNul: false }) === undefined,
        )
        const rows =
          (await putOne(connection, query, some, keys)) ??
          (await putSome(connection, query, some, keys))
        for (const [n, message] of some.entries()) {
          const { answer, queues } = rows[n] ?? { answer: undefined, queues: [] }
          queuesOf.set(message, queues)
          if (answer === 'put' || answer === 'discarded') taken.add(message)
        }
        for (const message of part)
          if (!taken.has(message) && message.partitionKey !== undefined)
            held.add(message.partitionKey)
      }
      return messages.map((message) => taken.has(message))
    },
    committed: (messages) =>
      connection.ring([...new Set(messages.flatMap((message) => queuesOf.get(message) ?? []))]),
  }
}

interface Put {
  readonly answer: unknown
  readonly queues: readonly number[]
}

/**
 * The usual case, one message and its key alone. Undefined: it is another case, or the function for
 * many has to say why not.
 */
async function putOne(
  { sql }: Connection,
  query: RunStatement,
  messages: readonly OutgoingMessage[],
  keys: readonly string[],
): Promise<readonly Put[] | undefined> {
  const [only] = messages
  if (only === undefined || messages.length > 1 || keys.some((key) => key !== only.partitionKey))
    return undefined
  const { id, partitionKey = null, delayMs, type, to, headers, body } = only
  const values = [
    id,
    partitionKey,
    delayOf(delayMs),
    type,
    to.kind,
    to.name,
    JSON.stringify(headers),
    body,
    to.transport,
  ]
  const { rows } = await query(sql.putOne, values, { often: true })
  return rows.length === 0
    ? undefined
    : [{ answer: 'put', queues: rows.map((row) => Number(row['queue'])) }]
}

async function putSome(
  { sql, settings }: Connection,
  query: RunStatement,
  messages: readonly OutgoingMessage[],
  keys: readonly string[],
): Promise<readonly Put[]> {
  if (messages.length === 0) return []
  const { json, bodies } = encode(messages, true)
  const discard = settings.eventsWithoutSubscribers === 'discard'
  const { rows } = await query(sql.putWithin, [json, bodies, JSON.stringify(keys), true, discard])
  return rows.map((row) => ({ answer: row['answer'], queues: idsOf(row['queues'] as string) }))
}
