import { MersalError } from '../../core/errors.ts'
import type { PostgresPool, PostgresPoolClient, PostgresResult } from './client.ts'
import { storeFailure } from './failure.ts'

/** The server gives up a statement of ours after this, and the client a little later, in case the server is out of reach. */
const STATEMENT_MS = 10_000
const ANSWER_MS = 15_000
/**
 * The server ends a transaction of ours that says nothing for so long. Our statements follow each other at
 * once, so that its process is frozen; and nobody else can claim the rows that it has locked.
 */
const SILENCE_MS = 5000

/**
 * A small pool of Mersal's own with the settings of the given one, so that its work goes on when
 * the application has used up its connections. See ADR 0040. `instead`: the option that replaces it.
 */
export function ownPool(given: PostgresPool, { most, instead }: { readonly most: number; readonly instead: string }): PostgresPool {
  const { options, constructor } = given as unknown as { options?: object; constructor: new (options: object) => PostgresPool }
  if (typeof options !== 'object' || options === null) {
    throw new MersalError('MERSAL_INVALID_OPTIONS', `pool: this is no pool of 'pg' whose settings can be read; give '${instead}' as well`, {
      details: { field: 'pool' },
    })
  }
  // pg hides the password from enumeration, so a copy has to name it.
  const { password, connectionTimeoutMillis } = options as { password?: unknown; connectionTimeoutMillis?: number }
  const own = { ...options, max: most, min: 0, keepAlive: true, connectionTimeoutMillis: connectionTimeoutMillis ?? ANSWER_MS }
  return new constructor(password === undefined ? own : { ...own, password })
}

export interface Own {
  /** No pooler is in between. False: not known. */
  readonly direct: boolean
  /** Runs one statement in a transaction of its own with the settings of the relay. `doing` names it in errors. */
  run<Row>(doing: string, text: string, values: readonly unknown[]): Promise<PostgresResult<Row>>
  /** Runs several statements in one such transaction. */
  transaction<Result>(doing: string, work: (query: Query) => Promise<Result>, options?: TransactionOptions): Promise<Result>
  /** Lends a connection without a transaction; it is closed afterwards if the work threw. */
  connection<Result>(work: (query: Query, client: PostgresPoolClient) => Promise<Result>): Promise<Result>
}

export interface TransactionOptions {
  /** False: the answer does not wait for the disk, so that a crash may lose the transaction as a whole. Default true. */
  readonly durable?: boolean
  /** Rows are read in the order of an index, and only as many as are wanted, whatever the planner expects of its conditions. */
  readonly inOrder?: boolean
}

export interface Query {
  <Row = Record<string, unknown>>(text: string, values?: readonly unknown[]): Promise<PostgresResult<Row>>
  /** Several statements in one text, without parameters. */
  script(text: string): Promise<unknown>
  /** One statement that must be answered within this time. */
  within<Row = Record<string, unknown>>(ms: number, text: string): Promise<PostgresResult<Row>>
}

/**
 * The settings of the relay travel with each transaction, so that they also hold behind a pooler:
 * snapshots per statement, a commit that is flushed before it is answered, a plan that does not turn
 * quadratic when it was made on an empty table, an end to every statement.
 */
const begin = ({ durable = true, inOrder = false }: TransactionOptions): string => `begin isolation level read committed;
set local synchronous_commit = ${durable ? 'on' : 'off'};${inOrder ? ' set local enable_bitmapscan = off; set local enable_sort = off;' : ''} set local enable_seqscan = off; set local jit = off;
set local statement_timeout = ${STATEMENT_MS}; set local lock_timeout = ${STATEMENT_MS / 2}; set local idle_in_transaction_session_timeout = ${SILENCE_MS}`

/**
 * Keeps connections that die from ending the process: an `error` that nobody listens to does. An idle one
 * is an event of its pool, which has dropped it by then. One that dies in the very moment it is lent is
 * nobody's: the pool has stopped listening and the borrower has not begun, so each gets a listener for life;
 * what it was lent for fails by itself. Returns what takes the listeners of the pools away.
 */
export function watchConnections(pools: readonly PostgresPool[]): () => void {
  const dropped = (): void => {}
  const connected = (client: PostgresPoolClient): void => void client.on('error', dropped)
  for (const pool of pools) pool.on('error', dropped).on('connect', connected)
  return () => {
    for (const pool of pools) pool.off('error', dropped).off('connect', connected)
  }
}

function queryOn(client: PostgresPoolClient): Query {
  const run = client.query.bind(client) as unknown as (config: object) => Promise<PostgresResult<never>>
  const query = async (text: string, values: readonly unknown[] = []): Promise<PostgresResult<never>> =>
    await run({ text, values, query_timeout: ANSWER_MS })
  return Object.assign(query, {
    script: (text: string) => run({ text, query_timeout: ANSWER_MS }),
    within: (ms: number, text: string) => run({ text, query_timeout: ms }),
  })
}

export function own(pool: PostgresPool, schema: string): Own {
  async function connection<Result>(work: (query: Query, client: PostgresPoolClient) => Promise<Result>): Promise<Result> {
    const client = await pool.connect()
    let broken: Error | undefined
    const onError = (error: Error): void => {
      broken = error
    }
    client.on('error', onError)
    try {
      return await work(queryOn(client), client)
    } catch (error) {
      broken ??= error instanceof Error ? error : new Error('a statement failed', { cause: error })
      throw error
    } finally {
      client.off('error', onError)
      client.release(broken)
    }
  }

  async function transaction<Result>(
    doing: string,
    work: (query: Query) => Promise<Result>,
    options: TransactionOptions = {},
  ): Promise<Result> {
    try {
      return await connection(async (query) => {
        await query.script(begin(options))
        const result = await work(query)
        await query.script('commit')
        return result
      })
    } catch (error) {
      throw storeFailure(schema, doing, error)
    }
  }

  return {
    direct: pool.direct === true,
    connection,
    transaction,
    run: <Row>(doing: string, text: string, values: readonly unknown[]) => transaction(doing, (query) => query<Row>(text, values)),
  }
}
