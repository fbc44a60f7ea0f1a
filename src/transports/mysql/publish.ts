import type { OutgoingMessage } from '../../core/messages/message.ts'
import type { PublishOutcome } from '../../core/transport.ts'
import { bytesOf, fitsName, textOf } from '../../sql/mysql/bytes.ts'
import { errorNumber } from '../../sql/mysql/failure.ts'
import { slotsOf } from '../../sql/mysql/key-slots.ts'
import { type Query, listsOf } from '../../sql/mysql/own.ts'
import { partsOf } from '../../sql/parts.ts'
import { confirmed, keyOrder, unroutable } from '../shared/outcomes.ts'
import { publishCall } from '../queues/publish-call.ts'
import { unstorable } from '../queues/unstorable.ts'
import type { Connection } from './connection.ts'
import { headsOf, nameOf, type Pair } from './heads.ts'

/** Most messages of one transaction, and bytes of one statement, which travel as text. */
const PUT_MESSAGES = 500
const PUT_BYTES = 4 * 1024 * 1024
/** Most rows of one statement. */
const ROWS = 100

/** Writes the messages of the call, in transactions of our own. Never rejects. */
export function publishAll(
  connection: Connection,
  messages: readonly OutgoingMessage[],
  signal: AbortSignal | undefined,
): Promise<PublishOutcome>[] {
  const { clock, maxMessageBytes } = connection.settings
  return publishCall(
    {
      clock,
      maxMessageBytes,
      unstorable: cannotStore,
      isFaultOfContent,
      parts: (all) => partsOf(all, PUT_MESSAGES, PUT_BYTES),
      ready: async () => void (await connection.ready()),
      put: (some, written) => put(connection, some, written),
    },
    messages,
    signal,
  )
}

/** Data that is no text, is too long or breaks a constraint, and what a trigger refuses. */
const FAULTS_OF_CONTENT = new Set([
  1048, 1062, 1153, 1264, 1265, 1292, 1301, 1366, 1406, 1452, 1644, 3819, 4025,
])

const isFaultOfContent = (error: unknown): boolean => FAULTS_OF_CONTENT.has(errorNumber(error) ?? 0)

function cannotStore(message: OutgoingMessage): string | undefined {
  const { id, type, partitionKey = '' } = message
  const problem = unstorable(message, { takesNul: true })
  if (problem !== undefined || [id, type, partitionKey].every(fitsName)) return problem
  return 'the message cannot be stored: id, type and key have at most 255 bytes'
}

interface Row {
  readonly queue: number
  readonly message: OutgoingMessage
}

async function put(
  connection: Connection,
  messages: readonly OutgoingMessage[],
  written: () => void,
): Promise<readonly PublishOutcome[]> {
  const own = await connection.ready()
  const outcomes = await own.transaction('publishing messages', async (query) => {
    const queues = await queuesOf(query, connection, messages)
    const { answers, rows } = routed(connection, messages, queues)
    await insert(query, connection, rows)
    written()
    return answers
  })
  connection.bell.ring()
  return outcomes
}

type Queues = (message: OutgoingMessage) => readonly number[]

/** Their rows stay locked, so that none of the queues is removed meanwhile. */
async function queuesOf(
  query: Query,
  { sql }: Connection,
  messages: readonly OutgoingMessage[],
): Promise<Queues> {
  const found = new Map<string, number[]>()
  for (const kind of ['queue', 'topic'] as const) {
    const names = new Set(messages.flatMap(({ to }) => (to.kind === kind ? to.name : [])))
    const text = kind === 'queue' ? sql.queuesOf : sql.subscribersOf
    for (const some of listsOf([...names].sort())) {
      const { rows } = await query<{ name: unknown; id: unknown }>(text, [some.map(bytesOf)])
      for (const row of rows) {
        const place = `${kind} ${textOf(row.name)}`
        found.set(place, [...(found.get(place) ?? []), Number(row.id)])
      }
    }
  }
  return ({ to }) => found.get(`${to.kind} ${to.name}`) ?? []
}

function routed(
  { settings }: Connection,
  messages: readonly OutgoingMessage[],
  queues: Queues,
): { readonly answers: readonly PublishOutcome[]; readonly rows: readonly Row[] } {
  const order = keyOrder()
  const rows: Row[] = []
  const discards = settings.eventsWithoutSubscribers === 'discard'
  const answers = messages.map((message) => {
    const targets = queues(message)
    const dropped = discards && message.to.kind === 'topic'
    const outcome =
      order.before(message) ?? (targets.length > 0 || dropped ? confirmed : unroutable(message.to))
    order.note(message, outcome)
    if (outcome.kind === 'confirmed') rows.push(...targets.map((queue) => ({ queue, message })))
    return outcome
  })
  return { answers, rows }
}

/**
 * The locks of the keys come before the positions, and stay until the commit: so the order of
 * positions is the order of commits. Of a key that has no message in the queue, the first may be
 * taken at once.
 */
async function insert(query: Query, { sql }: Connection, rows: readonly Row[]): Promise<void> {
  const pairs = rows.flatMap(({ queue, message: { partitionKey: key } }): Pair[] =>
    key === undefined ? [] : [{ queue, key }],
  )
  for (const slots of listsOf(slotsOf(pairs.map(({ key }) => key))))
    await query(sql.lockKeys, [slots])
  const taken = new Set((await headsOf(query, sql, pairs)).map(nameOf))
  const values = rows.map(({ queue, message }) => {
    const { id, type, partitionKey: key, headers, body } = message
    const name = key === undefined ? undefined : nameOf({ queue, key })
    const waits = name !== undefined && taken.has(name)
    if (name !== undefined) taken.add(name)
    const texts = [id, type].map(bytesOf)
    const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength)
    const head = [queue, waits ? 1 : 0, ...texts, key === undefined ? null : bytesOf(key)]
    return [...head, bytesOf(JSON.stringify(headers)), bytes]
  })
  // A row alone is prepared, so that its bytes travel as they are.
  for (const some of statementsOf(values))
    await query(sql.insert(some.length), some.flat(), { prepared: some.length === 1 })
}

function statementsOf(rows: readonly unknown[][]): unknown[][][] {
  const statements: unknown[][][] = []
  let bytes = Infinity
  for (const row of rows) {
    const size = row.reduce<number>(
      (sum, value) => sum + (Buffer.isBuffer(value) ? value.length : 8),
      0,
    )
    if (bytes + size > PUT_BYTES || (statements.at(-1)?.length ?? ROWS) === ROWS) {
      statements.push([])
      bytes = 0
    }
    statements.at(-1)?.push(row)
    bytes += size
  }
  return statements
}
