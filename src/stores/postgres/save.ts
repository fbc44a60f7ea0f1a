import type { OutgoingMessage } from '../../core/messages/message.ts'
import { type SavedLater, savedRow, type SavedRow, type WrittenRow } from '../../core/outbox.ts'
import { partsOf } from '../../sql/parts.ts'
import { explain } from '../../sql/postgres/failure.ts'
import type { Session, SqlExecutor, SqlValue } from '../../sql/session.ts'
import { encodeMessage, encodeMessages, tokenUuid } from './encode.ts'
import { encodeLast, writtenRows } from './last/encode-last.ts'
import type { LastStatements } from './last/last-statements.ts'
import type { Statements } from './statements/statements.ts'
import type { UnitNotes } from '../../sql/postgres/unit/unit-notes.ts'

/**
 * Most rows of one insert: bounds the texts and the memory of the server, as its bytes are bounded.
 */
export const SAVE_ROWS = 5000

export interface SavePorts<Tx> {
  readonly schema: string
  readonly sql: Statements
  readonly session: Session<Tx>
  readonly notes: UnitNotes
  /** Statements in the flight of a commit. */
  readonly last: () => LastStatements
}

export interface Express {
  readonly token: string
  readonly graceMs: number
}

export async function save<Tx>(
  ports: SavePorts<Tx>,
  tx: Tx,
  messages: readonly OutgoingMessage[],
  express: Express | undefined,
): Promise<SavedRow[]> {
  const executor = ports.session.executor(tx)
  const saved: SavedRow[] = []
  for (const some of partsOf(messages, SAVE_ROWS))
    saved.push(...(await run(ports, tx, executor, insertion(ports, some, express))))
  return saved
}

/**
 * Everything that can fail without the server fails here. What is left behind goes with the commit,
 * if the unit gets that far.
 */
export function saveLast<Tx>(
  ports: SavePorts<Tx>,
  tx: Tx,
  messages: readonly OutgoingMessage[],
  express: Express | undefined,
): SavedLater | undefined {
  if (partsOf(messages, SAVE_ROWS).length !== 1) return undefined
  ports.session.executor(tx)
  const saved = Promise.withResolvers<readonly WrittenRow[]>()
  const given = express && { ...express, token: tokenUuid(express.token) }
  const left = ports.notes.leave(tx, {
    statements: encodeLast(ports.last(), messages, given),
    rings: express === undefined,
    answered(answers, rung) {
      const rows = writtenRows(messages, answers)
      const waiting = !rung && rows.some(({ kind }) => kind === 'row')
      ports.notes.saved(tx, undefined, waiting)
      saved.resolve(rows)
    },
  })
  return left ? { saved: saved.promise } : undefined
}

export interface Insertion {
  readonly text: string
  readonly values: SqlValue[]
}

/** `proof`: the last two parameters of the proven form. */
export function insertion<Tx>(
  { sql }: SavePorts<Tx>,
  messages: readonly OutgoingMessage[],
  express: Express | undefined,
  proof?: readonly [mark: string, only: boolean],
): Insertion {
  const token = express === undefined ? null : tokenUuid(express.token)
  const graceMs = express?.graceMs ?? 0
  const form = proof === undefined ? 'save' : 'proven'
  const keyed = messages.some(({ partitionKey }) => partitionKey !== undefined) ? 'Keyed' : ''
  const [first] = messages
  const one = first !== undefined && messages.length === 1
  const values = one
    ? encodeMessage(first, token, graceMs)
    : encodeMessages(messages, token, graceMs)
  return {
    text: sql[`${form}${one ? 'One' : 'Many'}${keyed}`],
    values: proof === undefined ? values : [...values, ...proof],
  }
}

export async function run<Tx>(
  ports: SavePorts<Tx>,
  tx: Tx,
  executor: SqlExecutor,
  { text, values }: Insertion,
): Promise<SavedRow[]> {
  try {
    const { rows } = await executor.query(text, values, { often: true })
    return note(ports, tx, rows)
  } catch (error) {
    throw explain(ports.schema, error)
  }
}

/** What the statements that save answer. */
function note<Tx>(
  { notes }: SavePorts<Tx>,
  tx: Tx,
  rows: readonly Record<string, unknown>[],
): SavedRow[] {
  const saved = rows.map((row) => savedRow(BigInt(row['position'] as string), row['born'] === true))
  const waiting = saved.some(({ kind }) => kind === 'row')
  if (rows.length > 0) notes.saved(tx, rows[0]?.['xact'] as string | undefined, waiting)
  // Positions are drawn in the order of the messages, but the answer need not come in it.
  return saved.sort((a, b) => (a.position < b.position ? -1 : 1))
}
