import { isMersalError } from '../../core/errors/errors.ts'
import type { OutgoingMessage } from '../../core/messages/message.ts'
import type { PublishOutcome } from '../../core/transport.ts'
import { partsOf } from '../../sql/parts.ts'
import { sqlState } from '../../sql/postgres/failure.ts'
import { confirmed, heldBack, unavailable, unroutable } from '../shared/outcomes.ts'
import { publishCall, type PutPorts } from '../queues/publish-call.ts'
import { unstorable } from '../queues/unstorable.ts'
import type { Connection } from './connection.ts'
import { encode } from './encode.ts'

interface PutRow {
  readonly answer: 'put' | 'discarded' | 'unroutable' | 'held' | 'busy' | 'outbox'
  readonly queues: string
}

/** Most messages of one statement: bounds the JSON text and the memory of the server. */
export const PUT_MESSAGES = 1000

/** Writes the messages of the call, in transactions of our own. Never rejects. */
export function publishAll(
  connection: Connection,
  messages: readonly OutgoingMessage[],
  signal: AbortSignal | undefined,
): Promise<PublishOutcome>[] {
  const { clock, maxMessageBytes } = connection.settings
  const ports: PutPorts = {
    clock,
    maxMessageBytes,
    unstorable: (message) => unstorable(message, { takesNul: false }),
    isFaultOfContent,
    parts: (all) => partsOf(all, PUT_MESSAGES),
    ready: () => connection.ready(),
    put: (some, written) => put(connection, some, written),
  }
  return publishCall(ports, messages, signal)
}

async function put(
  connection: Connection,
  messages: readonly OutgoingMessage[],
  written: () => void,
): Promise<readonly (PublishOutcome | 'busy')[]> {
  const { own, sql, settings } = connection
  const { json, bodies } = encode(messages, false)
  const keys = new Set(messages.flatMap(({ partitionKey }) => partitionKey ?? []))
  const discard = settings.eventsWithoutSubscribers === 'discard'
  const values = [json, bodies, JSON.stringify([...keys]), false, discard]
  const rows = await own.transaction('publishing messages', async (query) => {
    const answer = await query<PutRow>(sql.put, values)
    written()
    return answer.rows
  })
  connection.ring([...new Set(rows.flatMap(({ queues }) => idsOf(queues)))])
  return messages.map((message, n) => outcomeOf(message, rows[n]?.answer))
}

export function idsOf(text: string | undefined): number[] {
  return text === undefined || text === '' ? [] : text.split(',').map(Number)
}

const causeOf = (error: unknown): unknown => (error as { readonly cause?: unknown }).cause ?? error

/**
 * Data (22), a constraint (23), a limit of the server (54): the connection and the others are well.
 */
function isFaultOfContent(error: unknown): boolean {
  // The sequence of the table is behind its rows: no message can be put.
  if (isMersalError(error, 'MERSAL_STORE_UNSAFE')) return false
  return ['22', '23', '54'].includes(sqlState(causeOf(error))?.slice(0, 2) ?? '')
}

function outcomeOf(
  { to }: OutgoingMessage,
  answer: PutRow['answer'] | undefined,
): PublishOutcome | 'busy' {
  switch (answer) {
    case 'put':
    case 'discarded':
      return confirmed
    case 'unroutable':
      return unroutable(to)
    case 'held':
      return heldBack()
    case 'busy':
      return answer
    case 'outbox':
    case undefined:
      return unavailable('the queue gave no answer for this message')
    default:
      return answer satisfies never
  }
}
