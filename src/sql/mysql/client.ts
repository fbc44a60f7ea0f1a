/** What a statement answers that gives no rows. */
export interface MysqlHeader {
  readonly affectedRows: number | string
  /** The first position that was drawn. */
  readonly insertId: number | string
  /** Flags of the server; the lowest bit says that a transaction is open. */
  readonly serverStatus: number
}

/** One statement with options, as `mysql2` takes them. */
export interface MysqlQuery {
  readonly sql: string
  readonly values?: readonly unknown[]
  /** Milliseconds. */
  readonly timeout?: number
  readonly rowsAsArray?: boolean
  readonly nestTables?: boolean
  readonly namedPlaceholders?: boolean
  readonly typeCast?: (field: unknown, next: () => unknown) => unknown
}

/**
 * With every statement of ours, so that the rows of it are what `mysql2` makes of them by itself,
 * whatever the settings of the pool say.
 */
export const plainRows: Omit<MysqlQuery, 'sql' | 'values' | 'timeout'> = {
  rowsAsArray: false,
  nestTables: false,
  namedPlaceholders: false,
  // A function, since nothing else takes precedence over that of the pool.
  typeCast: (_field, next) => next(),
}

/**
 * The part of a promise connection of `mysql2` 3 that Mersal uses, and the type of `tx` in
 * handlers. A pool has no `beginTransaction`, so that giving one to `within()` is a compile error.
 */
export interface MysqlConnection {
  // oxlint-disable-next-line typescript/no-explicit-any -- the library's own types of rows, which any narrower one would refuse
  query(text: any, values?: any): Promise<any>
  // oxlint-disable-next-line typescript/no-explicit-any -- as above
  execute(text: any, values?: any): Promise<any>
  beginTransaction(): Promise<void>
}

/** A connection that a pool has lent. */
export interface MysqlPoolConnection extends MysqlConnection {
  /** Gives it back. */
  release(): void
  /** Closes it instead. */
  destroy(): void
}

/** The part of a promise pool of `mysql2` 3 that Mersal uses. */
export interface MysqlPool {
  getConnection(): Promise<MysqlPoolConnection>
  end(): Promise<void>
}

/** The lowest bit of `serverStatus`. */
const IN_TRANSACTION = 1

/** Whether the server said that a transaction is open; undefined if it said nothing of that. */
export function saysOpen(answer: unknown): boolean | undefined {
  const result: unknown = Array.isArray(answer) ? answer[0] : answer
  const last: unknown = Array.isArray(result) ? result.at(-1) : result
  const { serverStatus } = (last ?? {}) as { serverStatus?: unknown }
  return typeof serverStatus === 'number' ? (serverStatus & IN_TRANSACTION) !== 0 : undefined
}
