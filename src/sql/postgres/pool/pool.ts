import type { PostgresPool, PostgresPoolClient, PostgresResult } from '../client.ts'
import { sqlState, storeFailure } from '../failure.ts'
import { statementName } from '../statement-name.ts'
import { ownTypes } from '../types.ts'
import { isSingle } from './one-connection.ts'

/**
 * The server gives up a statement of ours after this, and the client a little later, in case the
 * server is out of reach.
 */
const STATEMENT_MS = 10_000
const ANSWER_MS = 15_000
/**
 * For what takes as long as it takes: the longest timer of Node. Zero would be the limit that the
 * application has given its pool.
 */
export const UNLIMITED_MS: number = 2 ** 31 - 1
/**
 * The server ends a transaction of ours that sends nothing for this time, in milliseconds. Our
 * statements follow each other at once, so our process is frozen then, and nobody else can claim
 * the rows that it has locked.
 */
const SILENCE_MS = 5000

export interface Own {
  /** No pooler is in between. False: not known. */
  readonly direct: boolean
  /** There is only one connection, so that a transaction keeps everybody else waiting. */
  readonly single: boolean
  /**
   * Runs one statement in a transaction of its own with the settings of the relay. `doing` names it
   * in errors.
   */
  run<Row>(
    doing: string,
    text: string,
    values: readonly unknown[],
    options?: RunOptions,
  ): Promise<PostgresResult<Row>>
  /** Runs several statements in one such transaction. */
  transaction<Result>(
    doing: string,
    work: (query: Query) => Promise<Result>,
    options?: TransactionOptions,
  ): Promise<Result>
  /** Lends a connection without a transaction; it is closed afterwards if the work threw. */
  connection<Result>(
    work: (query: Query, client: PostgresPoolClient) => Promise<Result>,
    options?: ConnectionOptions,
  ): Promise<Result>
}

export interface ConnectionOptions {
  /**
   * With the settings of the server and the user, in particular without the time limits of the
   * relay.
   */
  readonly bare?: boolean
}

export interface RunOptions {
  /**
   * It runs again and again: prepared under a name where that is allowed, with its plan kept. It
   * must do the right thing, or fail, if the settings of the connection are not those of the relay:
   * see `intact`.
   */
  readonly often?: boolean
}

export interface OwnOptions {
  /**
   * Whether these connections are ours alone and no pooler is in between, so that they keep
   * settings and prepared statements. Default: no.
   */
  readonly keeps?: () => boolean
}

export interface TransactionOptions {
  /**
   * False: the answer does not wait for the disk, so that a crash may lose the transaction as a
   * whole. Default true.
   */
  readonly durable?: boolean
  /**
   * Rows are read in the order of an index, and only as many as are wanted, whatever the planner
   * expects of its conditions.
   */
  readonly inOrder?: boolean
}

export interface Query {
  <Row = Record<string, unknown>>(
    text: string,
    values?: readonly unknown[],
  ): Promise<PostgresResult<Row>>
  /**
   * One or several statements in one text, without parameters. `ms`: they must be answered within
   * this time.
   */
  script(text: string, ms?: number): Promise<PostgresResult>
  /** Prepares the statement at its first use on this connection. */
  named(text: string, values: readonly unknown[]): Promise<PostgresResult>
  /** One statement that must be answered within this time. */
  within<Row = Record<string, unknown>>(
    ms: number,
    text: string,
    values?: readonly unknown[],
  ): Promise<PostgresResult<Row>>
}

/**
 * The settings of the relay travel with each transaction, so that they also hold behind a pooler:
 * snapshots per statement, a commit that is flushed before it is answered, a plan that does not
 * turn quadratic when it was made on an empty table, an end to every statement.
 */
const begin = ({
  durable = true,
  inOrder = false,
  free,
}: TransactionOptions & {
  readonly free: boolean
}): string => `begin isolation level read committed;
set local synchronous_commit = ${durable ? 'on' : 'off'};${free ? ` ${FREE}` : ''}${inOrder ? ' set local enable_bitmapscan = off; set local enable_sort = off;' : ''} set local enable_seqscan = off; set local jit = off;
set local statement_timeout = ${STATEMENT_MS}; set local lock_timeout = ${STATEMENT_MS / 2}; set local idle_in_transaction_session_timeout = ${SILENCE_MS}`

/**
 * The same for a connection that keeps them, and one plan for each prepared statement: the one of
 * an index in the order of its rows, which is right whatever the tables held when it was made.
 */
const KEPT = `set default_transaction_isolation = 'read committed'; set synchronous_commit = on; set enable_seqscan = off;
set enable_bitmapscan = off; set enable_sort = off; set jit = off; set plan_cache_mode = force_generic_plan;
set statement_timeout = ${STATEMENT_MS}; set lock_timeout = ${STATEMENT_MS / 2}; set idle_in_transaction_session_timeout = ${SILENCE_MS}`

/** What transactions on a connection that keeps settings take back. */
const FREE = `set local enable_bitmapscan = on; set local enable_sort = on; set local plan_cache_mode = auto;`

/**
 * A condition that holds under the settings of the relay and fails with an error under others: a
 * pooler that came in between later would run the statement on a connection that knows nothing of
 * them.
 */
export const intact = `case when current_setting('synchronous_commit') = 'on' and current_setting('transaction_isolation') = 'read committed' then true
    else ('synchronous_commit = ' || current_setting('synchronous_commit'))::boolean end`

/**
 * What such a statement fails with: of `intact`, and because it was never prepared on this
 * connection.
 */
const STRANGE = new Set(['22P02', '26000'])

function queryOn(client: PostgresPoolClient): Query {
  const run = client.query.bind(client) as unknown as (
    config: object,
  ) => Promise<PostgresResult<never>>
  const query = async (
    text: string,
    values: readonly unknown[] = [],
  ): Promise<PostgresResult<never>> =>
    await run({ text, values, types: ownTypes, query_timeout: ANSWER_MS })
  return Object.assign(query, {
    script: (text: string, ms = ANSWER_MS) => run({ text, types: ownTypes, query_timeout: ms }),
    named: (text: string, values: readonly unknown[]) =>
      run({ name: statementName(text), text, values, types: ownTypes, query_timeout: ANSWER_MS }),
    within: (ms: number, text: string, values: readonly unknown[] = []) =>
      run({ text, values, types: ownTypes, query_timeout: ms }),
  })
}

export function own(
  pool: PostgresPool,
  schema: string,
  { keeps = () => false }: OwnOptions = {},
): Own {
  /** Connections with the settings of the relay. */
  const set = new WeakSet<PostgresPoolClient>()
  let strange = false
  const connection: Own['connection'] = (work, { bare = false } = {}) =>
    onConnection(pool, async (query, client) => {
      if (bare && set.delete(client)) await query.script('reset all')
      return await work(query, client)
    })

  async function transaction<Result>(
    doing: string,
    work: (query: Query) => Promise<Result>,
    options: TransactionOptions = {},
  ): Promise<Result> {
    try {
      return await connection((query, client) =>
        inTransaction(query, work, { ...options, free: set.has(client) }),
      )
    } catch (error) {
      throw storeFailure(schema, doing, error)
    }
  }

  /** One round trip, and nothing to plan. The statement is a transaction of its own. */
  async function prepared<Row>(
    doing: string,
    text: string,
    values: readonly unknown[],
  ): Promise<PostgresResult<Row>> {
    try {
      return await connection(async (query, client) => {
        if (!set.has(client)) {
          await query.script(KEPT)
          set.add(client)
        }
        return (await query.named(text, values)) as PostgresResult<Row>
      })
    } catch (error) {
      // From now on the settings travel with each transaction.
      strange ||= STRANGE.has(sqlState(error) ?? '')
      throw storeFailure(schema, doing, error)
    }
  }

  return {
    direct: pool.direct === true,
    single: isSingle(pool),
    connection,
    transaction,
    run: (doing, text, values, { often = false } = {}) =>
      often && !strange && keeps()
        ? prepared(doing, text, values)
        : transaction(doing, (query) => query(text, values)),
  }
}

/** Lends a connection; it is closed afterwards if the work threw, or if it has died. */
async function onConnection<Result>(
  pool: PostgresPool,
  work: (query: Query, client: PostgresPoolClient) => Promise<Result>,
): Promise<Result> {
  const client = await pool.connect()
  let broken: Error | undefined
  const onError = (error: Error): void => {
    broken = error
  }
  client.on('error', onError)
  const asBefore = inText(client)
  try {
    return await work(queryOn(client), client)
  } catch (error) {
    broken ??= error instanceof Error ? error : new Error('a statement failed', { cause: error })
    throw error
  } finally {
    client.off('error', onError)
    asBefore()
    client.release(broken)
  }
}

/**
 * Has values come as text. A pool may ask for them in binary form (`binary: true` of `pg`), but `pg`
 * 8 reads that as UTF-8 first, so that each byte above 127 is lost: of bodies, ids and numbers.
 * Returns what puts the client back.
 */
function inText(client: PostgresPoolClient & { binary?: boolean }): () => void {
  if (client.binary !== true) return () => {}
  client.binary = false
  return () => void (client.binary = true)
}

async function inTransaction<Result>(
  query: Query,
  work: (query: Query) => Promise<Result>,
  options: TransactionOptions & { readonly free: boolean },
): Promise<Result> {
  await query.script(begin(options))
  const result = await work(query)
  const { command } = await query.script('commit')
  if (command !== 'COMMIT') throw new Error(`the transaction ended with ${command}`)
  return result
}
