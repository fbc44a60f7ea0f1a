import { isMersalError, MersalError } from '../../../core/errors/errors.ts'
import { toError } from '../../../lib/async/abort.ts'
import type { PostgresPoolClient, PostgresResult } from '../client.ts'
import { explain, refusedCommit } from '../failure.ts'
import { join, type JoiningClient } from './flight.ts'
import { statementName } from '../statement-name.ts'
import { ownTypes } from '../types.ts'
import { transactionEnded } from '../../units/transaction-words.ts'
import { type Opening, openWithFirst, sendQuery } from './opening.ts'
import type { LastStatement, UnitNotes } from './unit-notes.ts'

export interface TransactionSettings {
  readonly schema: string
  readonly notes: UnitNotes
  readonly prepares: () => boolean
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

export interface Beginning {
  /** What the work has in place of the client. */
  readonly tx: object
  readonly begin: string
}

/** One statement after the other, for clients that `joinedTransaction` does not know. */
export async function plainTransaction(
  client: PostgresPoolClient,
  { tx, begin }: Beginning,
  { notes }: Pick<TransactionSettings, 'notes'>,
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
 * unit, if it has any.
 */
export function joinedTransaction(
  client: Client,
  { tx, begin }: Beginning,
  settings: TransactionSettings,
): UnitTransaction {
  const { notes } = settings
  const opening = openWithFirst(client, begin)
  notes.takesLast(tx, true)
  return {
    async rollback() {
      await opening.answered()
      if (opening.state === 'failed') throw opening.error ?? new Error('BEGIN failed')
      if (opening.state === 'begun') await client.query('rollback')
    },
    async commit(broke) {
      await opening.answered()
      if (opening.state === 'failed') {
        const error = opening.error ?? new Error('BEGIN failed')
        broke(error)
        throw error
      }
      const last = notes.last(tx)
      if (last !== undefined)
        return commitWith(client, last, opening.state === 'unsent' ? begin : undefined, settings, {
          tx,
          opening,
          broke,
        })
      // What has sent nothing has nothing to commit.
      if (opening.state === 'begun') await commit(client, notes.transactionId(tx), broke)
    },
    [Symbol.dispose]() {
      notes.takesLast(tx, false)
      opening[Symbol.dispose]()
    },
  }
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

interface Ends {
  readonly tx: object
  readonly opening: Opening
  readonly broke: (error: Error) => void
}

/**
 * The last statement and COMMIT in one flight. The server does not see COMMIT if the statement
 * fails, and answers both at once: without its answer nobody knows, also if the connection was lost
 * before.
 */
async function commitWith(
  client: Client,
  last: LastStatement,
  begin: string | undefined,
  { schema, notes, prepares }: TransactionSettings,
  { tx, opening, broke }: Ends,
): Promise<void> {
  if (begin === undefined) throwIfEnded(client)
  // From here on the client is only ours.
  opening[Symbol.dispose]()
  const { text, values } = last
  const query = new client.constructor.Query({
    ...(prepares() ? { name: statementName(text) } : {}),
    text,
    values,
    types: ownTypes,
  })
  let command: string | undefined
  let stage: 'unbegun' | 'begun' | 'ran' = begin === undefined ? 'begun' : 'unbegun'
  join(query, {
    before: begin,
    after: 'commit',
    begun: () => (stage = 'begun'),
    ran: () => (stage = 'ran'),
    ended: (tag) => (command = tag),
  })
  let rows: PostgresResult['rows']
  try {
    rows = ((await sendQuery(query, () => client.query(query as never))) as PostgresResult).rows
  } catch (cause) {
    const error = uncommitted(explain(schema, cause), notes.transactionId(tx), broke)
    // A transaction that was not begun leaves the question why, and one whose COMMIT was refused is
    // over.
    if (stage === 'unbegun') broke(toError(cause))
    else if (stage === 'begun' && !isMersalError(error, 'MERSAL_COMMIT_UNKNOWN'))
      await client.query('rollback').catch(broke)
    throw error
  }
  throwUnlessCommitted(command)
  last.answered(rows)
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
