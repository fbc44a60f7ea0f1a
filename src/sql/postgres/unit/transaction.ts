import { isMersalError, MersalError } from '../../../core/errors/errors.ts'
import { toError } from '../../../lib/async/abort.ts'
import type { PostgresPoolClient } from '../client.ts'
import { explain, refusedCommit } from '../failure.ts'
import { transactionEnded } from '../../units/transaction-words.ts'
import type { JoiningClient } from './flight/client.ts'
import type { Riders } from './flight/riders.ts'
import { type Ending, openWithFirst } from './opening.ts'
import type { LentHandle, UnitHandle } from './unit-handle.ts'
import type { UnitNotes } from './unit-notes.ts'
import { type Bound, bound, statement, type Statement } from './flight/wire.ts'

export interface TransactionSettings {
  readonly schema: string
  readonly notes: UnitNotes
  readonly prepares: () => boolean
  /** The statement that begins a transaction. */
  readonly begin: string
  /** What tells the relays of new rows, to be sent behind COMMIT. Undefined: not now. */
  readonly bell?: (() => Bound | undefined) | undefined
}

/** A transaction on a connection that is ours meanwhile. */
export interface UnitTransaction extends Disposable {
  rollback(): Promise<void>
  /**
   * Resolves only if the server said that it has committed. `broke`: the connection must not be
   * used again.
   */
  commit(broke: (error: Error) => void): Promise<void>
}

type Client = PostgresPoolClient & JoiningClient

/** One statement after the other, for clients that `joinedTransaction` does not know. */
export async function plainTransaction(
  client: PostgresPoolClient,
  { tx }: Pick<UnitHandle, 'tx'>,
  { notes, begin }: Pick<TransactionSettings, 'notes' | 'begin'>,
): Promise<UnitTransaction> {
  await client.query(begin)
  return {
    rollback: async () => void (await client.query('rollback')),
    commit: (broke) => commit(client, notes.transactionId(tx), broke),
    [Symbol.dispose]: () => {},
  }
}

/**
 * BEGIN travels with the first statement, whoever sends it, and COMMIT with the messages of the
 * unit, if it has any. What the work has not awaited may travel with them.
 */
export function joinedTransaction(
  client: Client,
  { tx, tags }: LentHandle,
  settings: TransactionSettings,
): UnitTransaction {
  const { notes, begin, prepares } = settings
  const named = prepares()
  const opening = openWithFirst(client, ownStatement(begin, named), tags)
  notes.takeLast(tx)
  return {
    async rollback() {
      await opening.answered()
      if (opening.state === 'failed') throw opening.error ?? new Error('BEGIN failed')
      if (opening.state === 'begun') await client.query('rollback')
    },
    async commit(broke) {
      if (opening.state === 'sent') await opening.answered()
      if (opening.state === 'failed') {
        const error = opening.error ?? new Error('BEGIN failed')
        broke(error)
        throw error
      }
      const last = notes.last(tx)
      if (opening.state === 'begun') throwIfEnded(client)
      const statements = [...(last?.statements ?? []), bound(ownStatement('commit', named))]
      const bell = last?.rings === true ? settings.bell?.() : undefined
      const ending = opening.end(statements, bell)
      if (ending === undefined) return
      const { rows, tag } = await ended(client, ending, settings, { tx, broke })
      throwUnlessCommitted(tag)
      last?.answered(rows, bell !== undefined)
    },
    [Symbol.dispose]: () => opening[Symbol.dispose](),
  }
}

const ownStatements = new Map<string, Statement>()

function ownStatement(text: string, named: boolean): Statement {
  const key = `${text} ${named}`
  let made = ownStatements.get(key)
  if (made === undefined) ownStatements.set(key, (made = statement(text, { named })))
  return made
}

async function commit(
  client: PostgresPoolClient,
  transactionId: string | undefined,
  broke: (error: Error) => void,
): Promise<void> {
  throwIfEnded(client)
  let command: string
  try {
    command = (await client.query('commit')).command
  } catch (cause) {
    throw uncommitted(cause, transactionId, broke)
  }
  throwUnlessCommitted(command)
}

/**
 * The answers of the last flight. The server does not see COMMIT if a statement before it fails, and
 * answers all at once: without its answer nobody knows, also if the connection was lost before.
 */
async function ended(
  client: Client,
  ending: Ending,
  { schema, notes }: TransactionSettings,
  { tx, broke }: { readonly tx: object; readonly broke: (error: Error) => void },
): Promise<Riders> {
  try {
    return await ending.riders
  } catch (cause) {
    const reached = ending.reached()
    const error =
      reached === 'unsent'
        ? cause
        : uncommitted(explain(schema, cause), notes.transactionId(tx), broke)
    // A transaction that was not begun leaves the question why, and one whose COMMIT was refused is
    // over.
    if (reached === 'unbegun') broke(toError(cause))
    else if (reached !== 'ran' && !isMersalError(error, 'MERSAL_COMMIT_UNKNOWN'))
      await client.query('rollback').catch(broke)
    throw error
  }
}

function throwIfEnded(client: PostgresPoolClient): void {
  if (client.getTransactionStatus() === 'I') throw transactionEnded('postgres')
}

function throwUnlessCommitted(command: string | undefined): void {
  if (command === 'COMMIT') return
  throw new MersalError(
    'MERSAL_ROLLED_BACK',
    'postgres: a statement of this transaction had failed and its error was caught, so the server rolled back at COMMIT. Let the error through, or use a savepoint',
  )
}

/** The error of a commit that was not answered with a command tag. */
function uncommitted(
  cause: unknown,
  transactionId: string | undefined,
  broke: (error: Error) => void,
): unknown {
  // The error of the server stays as it is: a deferred constraint, a serialization failure.
  if (refusedCommit(cause instanceof MersalError ? cause.cause : cause)) return cause
  broke(cause instanceof Error ? cause : new Error('the commit was not answered', { cause }))
  return new MersalError(
    'MERSAL_COMMIT_UNKNOWN',
    'postgres: the answer to COMMIT was lost, so the transaction may or may not have happened; it was not repeated. Ask commitStatus() with details.transactionId',
    { cause, details: transactionId === undefined ? {} : { transactionId } },
  )
}
