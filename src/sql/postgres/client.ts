import type { EventEmitter } from 'node:events'
import type { ValueTypes } from './types.ts'

/**
 * What a statement answers. `command` is the first word of the command tag, such as `COMMIT` or
 * `ROLLBACK`.
 */
export interface PostgresResult<Row = Record<string, unknown>> {
  readonly rows: Row[]
  readonly rowCount: number | null
  readonly command: string
}

/** A statement; the client prepares it under its name at its first use on a connection. */
export interface PreparedQuery {
  /** Left out: it is not prepared. */
  readonly name?: string
  readonly text: string
  readonly values: unknown[]
  readonly types?: ValueTypes
}

/**
 * The part of a `pg` 8 client that Mersal uses, and the type of `tx` in handlers. A pool has no
 * `getTransactionStatus`, so that giving one to `within()` is a compile error.
 */
export interface PostgresClient {
  // oxlint-disable-next-line typescript/no-explicit-any -- the same type of a row as in `pg`, which any narrower one would refuse
  query<Row extends Record<string, any> = Record<string, unknown>>(
    text: string | PreparedQuery,
    values?: unknown[],
  ): Promise<PostgresResult<Row>>
  /** `I` idle, `T` in a transaction, `E` in a failed one, null before the first answer. */
  getTransactionStatus(): 'I' | 'T' | 'E' | null
}

/** A client that a pool has lent. */
export interface PostgresPoolClient extends PostgresClient, Pick<EventEmitter, 'on' | 'off'> {
  /** With true or an error, the connection is closed instead of being kept. */
  release(broken?: Error | boolean): void
}

/** The part of a `pg` 8 pool that Mersal uses. */
export interface PostgresPool extends Pick<EventEmitter, 'on' | 'off'> {
  /** Known to have no pooler in between, so that nobody needs to find out. Default: not known. */
  readonly direct?: true
  connect(): Promise<PostgresPoolClient>
  end(): Promise<void>
}
