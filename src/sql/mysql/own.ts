import { MersalError } from '../../core/errors/errors.ts'
import { type MysqlHeader, type MysqlPool, type MysqlPoolConnection, plainRows } from './client.ts'
import { isConflict, isUnknownVariable, storeFailure } from './failure.ts'
import { lentBy, resetsOnRelease } from './own-pool.ts'

/** A statement without an answer after this time fails, and its connection is closed. */
const ANSWER_MS = 15_000
/** A conflict has undone the whole transaction, so that it may be run again. */
const REPEATS = 3

export interface Answer<Row = Record<string, unknown>> {
  readonly rows: readonly Row[]
  /** Rows that the statement changed. */
  readonly changed: number
  readonly insertId: bigint
}

export interface QueryOptions {
  /** Without lists; bytes travel as they are, not as text of twice their length. */
  readonly prepared?: boolean
  /** It must be answered within this time. `unlimited`: it takes as long as it takes. */
  readonly answerMs?: number | 'unlimited'
}

/** `values` take the place of the question marks; an array is a list. */
export type Query = <Row = Record<string, unknown>>(
  text: string,
  values?: readonly unknown[],
  options?: QueryOptions,
) => Promise<Answer<Row>>

/** Most values of one list: MariaDB plans a longer one as a join. */
export const LIST = 900

/** Cut into lists that a statement takes. */
export function listsOf<Value>(values: readonly Value[]): Value[][] {
  const lists: Value[][] = []
  for (let from = 0; from < values.length; from += LIST) lists.push(values.slice(from, from + LIST))
  return lists
}

/** Connections of our own, with the settings of the relay. */
export interface Own {
  /** Runs one statement, which is a transaction of its own. `doing` names it in errors. */
  run<Row>(doing: string, text: string, values?: readonly unknown[]): Promise<Answer<Row>>
  /** Runs several in one transaction. */
  transaction<Result>(doing: string, work: (query: Query) => Promise<Result>): Promise<Result>
  /** Lends a connection without a transaction; it is closed afterwards. */
  connection<Result>(doing: string, work: (query: Query) => Promise<Result>): Promise<Result>
}

/**
 * A snapshot per statement and no locks on gaps; a lock is waited for no longer than others should
 * have to wait for us; texts, times and errors do not depend on the settings of the server. The
 * server ends a transaction of ours that sends nothing for the time below: our process is frozen
 * then, and nobody else can claim the rows that it has locked. (MySQL has no such setting, and ends
 * the connection.)
 */
const SETTINGS = [
  `set names utf8mb4`,
  `set session transaction isolation level read committed`,
  `set session autocommit = 1, completion_type = 0, sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION',
    time_zone = '+00:00', innodb_lock_wait_timeout = 5, lock_wait_timeout = 10, wait_timeout = 60
    /*M!100300 , idle_transaction_timeout = 5 */`,
]

/**
 * On by default from MariaDB 11.6 on: a statement that both reads and locks, as a claim does, then
 * fails when a row has changed since it began. A claim looks at what it has locked, so it need not.
 */
const NO_OLD_SNAPSHOTS = `set session innodb_snapshot_isolation = off`

export function answerOf<Row>(result: unknown): Answer<Row> {
  if (Array.isArray(result)) return { rows: result as Row[], changed: 0, insertId: 0n }
  const { affectedRows, insertId } = (result ?? {}) as Partial<MysqlHeader>
  return { rows: [], changed: Number(affectedRows ?? 0), insertId: BigInt(insertId ?? 0) }
}

function queryOn(connection: MysqlPoolConnection): Query {
  return async <Row>(
    text: string,
    values: readonly unknown[] = [],
    { prepared = false, answerMs = ANSWER_MS }: QueryOptions = {},
  ): Promise<Answer<Row>> => {
    const [result] = (await connection[prepared ? 'execute' : 'query']({
      sql: text,
      values,
      ...(answerMs === 'unlimited' ? {} : { timeout: answerMs }),
      ...plainRows,
    })) as [unknown]
    return answerOf<Row>(result)
  }
}

/** Gives a connection the settings of the relay. */
function settingUp(): (query: Query) => Promise<void> {
  /** MySQL, and older versions of MariaDB, have no such setting. */
  let hasOldSnapshots = true
  return async (query) => {
    for (const text of SETTINGS) await query(text)
    if (!hasOldSnapshots) return
    try {
      await query(NO_OLD_SNAPSHOTS)
    } catch (error) {
      if (!isUnknownVariable(error)) throw error
      hasOldSnapshots = false
    }
  }
}

export function ownOn(pool: MysqlPool, database: string): Own {
  /** Connections that have the settings of the relay. */
  const set = new WeakSet<object>()
  const forgets = resetsOnRelease(pool)
  const setUp = settingUp()

  async function lend<Result>(
    work: (query: Query) => Promise<Result>,
    keep: boolean,
  ): Promise<Result> {
    const connection = await lentBy(pool)
    let whole = false
    try {
      const query = queryOn(connection)
      const { connection: core = connection } = connection as { connection?: object }
      if (forgets || !set.has(core)) {
        await setUp(query)
        set.add(core)
      }
      const result = await work(query)
      whole = keep
      return result
    } finally {
      // After a failure nobody knows what is still open on it.
      if (whole) connection.release()
      else connection.destroy()
    }
  }

  async function repeated<Result>(work: () => Promise<Result>): Promise<Result> {
    for (let repeats = 0; ; repeats++) {
      try {
        return await work()
      } catch (error) {
        if (repeats >= REPEATS || !isConflict(error)) throw error
      }
    }
  }

  async function failing<Result>(doing: string, work: () => Promise<Result>): Promise<Result> {
    try {
      return await work()
    } catch (error) {
      throw storeFailure(database, doing, error)
    }
  }

  return {
    run: (doing, text, values) =>
      failing(doing, () => repeated(() => lend((query) => query(text, values), true))),
    transaction: (doing, work) =>
      failing(doing, () => repeated(() => lend((query) => inTransaction(query, work), true))),
    connection: (doing, work) => failing(doing, () => lend(work, false)),
  }
}

async function inTransaction<Result>(
  query: Query,
  work: (query: Query) => Promise<Result>,
): Promise<Result> {
  await query('start transaction')
  const result = await work(query)
  await query('commit')
  return result
}

/** One row of a statement that always answers one. */
export function onlyRow<Row>({ rows }: Answer<Row>): Row {
  const [row] = rows
  if (row === undefined) throw new MersalError('MERSAL_STORE_FAILED', 'mysql: an answer is empty')
  return row
}
