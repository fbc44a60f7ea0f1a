import { CLAIM_BYTES, LARGEST_ROW_BYTES } from '../../core/bytes.ts'
import type { ClaimedMessage, ClaimRequest, OutboxStorage, SavedLater, SavedMessage } from '../../core/outbox.ts'
import type { OutgoingMessage } from '../../core/message.ts'
import type { OpenToQueue } from '../../core/straight.ts'
import { placeOf } from '../../sql/postgres/place.ts'
import { MOST_FETCHED_BYTES } from '../../sql/postgres/fetched-bytes.ts'
import type { Session, SqlExecutor, SqlValue } from '../../sql/session.ts'
import { explain } from '../../sql/postgres/failure.ts'
import type { Own } from '../../sql/postgres/pool.ts'
import { decodeClaimed, encodeMessage, encodeMessages, type MessageRow, tokenUuid } from './rows.ts'
import { settle } from './settle.ts'
import type { Statements } from './statements.ts'
import type { UnitNotes } from './unit-notes.ts'
import type { Vacuum } from './vacuum.ts'

/** Most rows of one insert: bounds the texts and the memory of the server. */
const SAVE_ROWS = 5000
const DAY_MS = 86_400_000

export interface OutboxPorts<Tx> {
  readonly schema: string
  readonly sql: Statements
  readonly own: Own
  readonly session: Session<Tx>
  readonly notes: UnitNotes
  readonly vacuum: Pick<Vacuum, 'deleted' | 'idle'>
  /** 0: confirmed rows are deleted at once. */
  readonly keepSentMs: number
}

export function postgresOutbox<Tx>(ports: OutboxPorts<Tx>): OutboxStorage<Tx> {
  const { own, sql, keepSentMs, vacuum } = ports
  return {
    openToQueue: openToQueue(ports),
    save: (tx, messages, options = {}) => save(ports, tx, messages, options.express),
    saveLast: (tx, messages, options = {}) => saveLast(ports, tx, messages, options.express),
    claim: (request) => claim(ports, request),
    async settle(settlements) {
      const result = await settle(settlements, { own, sql, keepSent: keepSentMs > 0 })
      vacuum.deleted(settlements.length - result.stale)
      return result
    },
    async renew(claims, { claimMs }) {
      // Sorted, so that two of these lock rows in the same order.
      const sorted = [...claims].sort((a, b) => (a.position < b.position ? -1 : 1))
      const values = [sorted.map(({ position }) => position.toString()), sorted.map(({ token }) => tokenUuid(token)), claimMs]
      await own.run('renewing claims', sql.renew, values)
    },
    prune: ({ limit }) => prune(ports, limit),
  }
}

/** A queue in this schema may write in the transactions of the outbox. */
function openToQueue<Tx>({ own, schema, session, notes }: OutboxPorts<Tx>): OpenToQueue<Tx> {
  return {
    place: () => placeOf(own, schema),
    async query(tx, text, values, options) {
      try {
        const result = await session.executor(tx).query(text, values, options)
        notes.saved(tx, result.rows[0]?.['transaction_id'] as string | undefined, false)
        return result
      } catch (error) {
        throw explain(schema, error)
      }
    },
  }
}

interface Express {
  readonly token: string
  readonly graceMs: number
}

async function save<Tx>(
  ports: OutboxPorts<Tx>,
  tx: Tx,
  messages: readonly OutgoingMessage[],
  express: Express | undefined,
): Promise<SavedMessage[]> {
  const executor = ports.session.executor(tx)
  const saved: SavedMessage[] = []
  for (let start = 0; start < messages.length; start += SAVE_ROWS) {
    const some = insertion(ports, messages.slice(start, start + SAVE_ROWS), express)
    saved.push(...(await run(ports, tx, executor, some)))
  }
  return saved
}

/**
 * Everything that can fail without the server fails here. What is left behind goes with the commit, if
 * the unit gets that far.
 */
function saveLast<Tx>(
  ports: OutboxPorts<Tx>,
  tx: Tx,
  messages: readonly OutgoingMessage[],
  express: Express | undefined,
): SavedLater | undefined {
  if (messages.length === 0 || messages.length > SAVE_ROWS) return undefined
  ports.session.executor(tx)
  const saved = Promise.withResolvers<SavedMessage[]>()
  const left = ports.notes.leave(tx, {
    ...insertion(ports, messages, express),
    answered: (rows) => saved.resolve(note(ports, tx, rows)),
  })
  return left ? { saved: saved.promise } : undefined
}

interface Insertion {
  readonly text: string
  readonly values: SqlValue[]
}

function insertion<Tx>({ sql }: OutboxPorts<Tx>, messages: readonly OutgoingMessage[], express: Express | undefined): Insertion {
  const token = express === undefined ? null : tokenUuid(express.token)
  const graceMs = express?.graceMs ?? 0
  const [first] = messages
  const keyed = messages.some(({ partitionKey }) => partitionKey !== undefined)
  if (first !== undefined && messages.length === 1) {
    return { text: keyed ? sql.saveOneKeyed : sql.saveOne, values: encodeMessage(first, token, graceMs) }
  }
  return { text: keyed ? sql.saveManyKeyed : sql.saveMany, values: encodeMessages(messages, token, graceMs) }
}

async function run<Tx>(ports: OutboxPorts<Tx>, tx: Tx, executor: SqlExecutor, { text, values }: Insertion): Promise<SavedMessage[]> {
  try {
    const { rows } = await executor.query(text, values, { often: true })
    return note(ports, tx, rows)
  } catch (error) {
    throw explain(ports.schema, error)
  }
}

/** What the statements that save answer. */
function note<Tx>({ notes }: OutboxPorts<Tx>, tx: Tx, rows: readonly Record<string, unknown>[]): SavedMessage[] {
  const saved = rows.map((row) => ({ position: BigInt(row['saved_position'] as string), express: row['born_claimed'] === true }))
  const waiting = saved.some((row) => !row.express)
  notes.saved(tx, rows[0]?.['transaction_id'] as string | undefined, waiting)
  // Positions are drawn in the order of the messages, but the answer need not come in it.
  return saved.sort((a, b) => (a.position < b.position ? -1 : 1))
}

async function claim<Tx>(ports: OutboxPorts<Tx>, request: ClaimRequest): Promise<ClaimedMessage[]> {
  const token = tokenUuid(request.token)
  const from = (request.fromPosition ?? 0n).toString()
  const { exceptDestinations = [], exceptKeys = [], maxBytes = CLAIM_BYTES, largestBytes = LARGEST_ROW_BYTES } = request
  const largest = Math.min(largestBytes, MOST_FETCHED_BYTES)
  const values = [request.limit, request.claimMs, token, from, maxBytes, request.reach ?? null, largest]
  const except = exceptDestinations.length + exceptKeys.length > 0
  const { rows } = await ports.own.run<MessageRow>(
    'claiming messages',
    except ? ports.sql.claimExcept : ports.sql.claim,
    except ? [...values, exceptDestinations, exceptKeys] : values,
    { often: true },
  )
  if (rows.length === 0) ports.vacuum.idle()
  const claimed: ClaimedMessage[] = []
  const damaged: MessageRow[] = []
  for (const row of rows) {
    const message = decodeClaimed(row, request.token)
    if (message === undefined) damaged.push(row)
    else claimed.push(message)
  }
  if (damaged.length > 0) await bury(ports, damaged, request.token)
  return claimed.sort((a, b) => (a.position < b.position ? -1 : 1))
}

/** Rows that somebody has changed into something that is no message must not stop the others. */
async function bury<Tx>(ports: OutboxPorts<Tx>, rows: readonly MessageRow[], token: string): Promise<void> {
  const error = new Error('the headers of this row are no JSON object of texts')
  const settlements = rows.map((row) => ({
    ...({ kind: 'dead', position: BigInt(row.position), token, reason: 'malformed', error } as const),
    ...({ onDead: 'skip', maybePublished: false } as const),
  }))
  await settle(settlements, { own: ports.own, sql: ports.sql, keepSent: false })
}

/** Days that are over go as whole partitions; rows one by one only if they are kept for less than a day. */
async function prune<Tx>(ports: OutboxPorts<Tx>, limit: number): Promise<number> {
  const { keepSentMs, own, sql } = ports
  if (keepSentMs === 0) return 0
  return await own.transaction('pruning kept messages', async (query) => {
    await query(sql.partitions)
    const dropped = await query<{ dropped: string }>(sql.dropPartitions, [keepSentMs])
    const deleted = keepSentMs < DAY_MS ? await query(sql.pruneSent, [keepSentMs, limit]) : { rowCount: 0 }
    return Number(dropped.rows[0]?.dropped ?? 0) + (deleted.rowCount ?? 0)
  })
}
