import type { SchemaControl } from '../operations.ts'

/**
 * Where the answers of requests are kept that are to take effect once: one row for each app, scope
 * and key. An implementation passes the suite `onceContract` of `mersal/testing`.
 */
export interface OnceStore<Tx> {
  /** The table, for tools of operators. */
  readonly schema?: SchemaControl
  /** Makes the table, or brings it up to date. Repeating it changes nothing. */
  open(): Promise<void>
  /**
   * Takes the key inside the caller's transaction, by inserting first. `running`: another open
   * transaction has it; the caller rolls back. It answers at once where the database can tell, and
   * never takes a failure of the database for an answer.
   */
  claim(tx: Tx, key: OnceKey, request: OnceClaim): Promise<OnceClaimed>
  /**
   * Keeps the response inside the transaction that has taken the key. Throws
   * `MERSAL_TRANSACTION_ENDED` if this is no longer that transaction.
   */
  keep(tx: Tx, key: OnceKey, response: string): Promise<void>
  /**
   * Removes rows whose time was over `longerMs` ago (default 0), at most `limit`; returns how many.
   */
  prune(options: { readonly limit: number; readonly longerMs?: number }): Promise<number>
}

export interface OnceKey {
  readonly app: string
  /** Empty, or 1 to 255 bytes of UTF-8 without control characters. */
  readonly scope: string
  /** 1 to 255 bytes of UTF-8 without control characters. */
  readonly key: string
}

export interface OnceClaim {
  /** At most 64 characters of ASCII. */
  readonly fingerprint: string
  /** The row is kept this long, in milliseconds, by the clock of the database. */
  readonly keepMs: number
}

export type OnceClaimed =
  | { readonly kind: 'first' }
  | { readonly kind: 'running' }
  | {
      readonly kind: 'kept'
      readonly fingerprint: string
      /** JSON. Undefined: the first transaction was ended by its own work, before the response. */
      readonly response: string | undefined
    }

const DAY_MS = 86_400_000

/** Bounds of the times of a request, in milliseconds. */
export const onceTimes: Readonly<
  Record<
    'waitMs' | 'keepMs',
    { readonly default: number; readonly min: number; readonly max: number }
  >
> = {
  waitMs: { default: 5000, min: 0, max: 3_600_000 },
  keepMs: { default: DAY_MS, min: 1000, max: 3650 * DAY_MS },
}
