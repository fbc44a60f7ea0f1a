/**
 * Every code that a `MersalError` can carry. Each is explained in `docs/errors.md`; a test compares
 * the two.
 */
export const errorCodes = [
  // start-up and configuration
  'MERSAL_INVALID_OPTIONS',
  'MERSAL_DUPLICATE_HANDLER',
  'MERSAL_STORE_UNSAFE',
  'MERSAL_NOT_A_DATABASE',
  'MERSAL_SCHEMA_TOO_NEW',
  'MERSAL_SCHEMA_MISSING',
  // sending
  'MERSAL_NO_TRANSACTION',
  'MERSAL_NOT_A_TRANSACTION',
  'MERSAL_UNIT_ENDED',
  'MERSAL_TRANSACTION_IS_OURS',
  'MERSAL_PARALLEL_SAVEPOINT',
  'MERSAL_NOT_AWAITED',
  'MERSAL_NO_ROUTE',
  'MERSAL_INVALID_MESSAGE',
  'MERSAL_INVALID_BODY',
  'MERSAL_ENCODE',
  'MERSAL_TOO_LARGE',
  'MERSAL_APP_STOPPED',
  'MERSAL_NO_REPLY',
  'MERSAL_REQUEST_FAILED',
  // committing
  'MERSAL_TRANSACTION_ENDED',
  'MERSAL_ROLLED_BACK',
  'MERSAL_SHARED_UNDONE',
  'MERSAL_COMMIT_UNKNOWN',
  'MERSAL_ONCE_KEY',
  'MERSAL_ONCE_RUNNING',
  'MERSAL_ONCE_REUSED',
  'MERSAL_STORE_CONFLICT',
  'MERSAL_STORE_BUSY',
  'MERSAL_STORE_FAILED',
  // publishing
  'MERSAL_UNROUTABLE',
  'MERSAL_REFUSED',
  'MERSAL_UNAVAILABLE',
  'MERSAL_UNKNOWN_OUTCOME',
  'MERSAL_EXPIRED',
  // receiving
  'MERSAL_DECODE',
  'MERSAL_FUTURE_VERSION',
  'MERSAL_UNKNOWN_TYPE',
  'MERSAL_HANDLER_TIMEOUT',
  'MERSAL_HANDLER_FAILED',
  'MERSAL_REJECTED',
  'MERSAL_RETRY_LATER',
  'MERSAL_LIMITED',
  'MERSAL_UNKNOWN_TENANT',
  'MERSAL_SAGA_KEY',
  'MERSAL_SAGA_MISSING',
  'MERSAL_SAGA_STATE',
  'MERSAL_STOP_TIMEOUT',
  'MERSAL_QUEUE_KEPT',
] as const

export type ErrorCode = (typeof errorCodes)[number]

export interface MersalErrorOptions {
  readonly cause?: unknown
  /** Facts for programs: the name of the field, the message id. Never a secret. */
  readonly details?: Readonly<Record<string, unknown>>
}

/** Marks the class across two installed copies of the package, where `instanceof` fails. */
const brand = Symbol.for('mersal.error')

/**
 * Every error that Mersal throws. `code` is stable; the text is for people and may change.
 * The text says what is wrong, names the field, and says what to do.
 */
export class MersalError extends Error {
  /** Stable, one of those in `docs/errors.md`. */
  readonly code: ErrorCode
  /** Facts for programs: the name of the field, the id of the message. Never a secret. */
  readonly details: Readonly<Record<string, unknown>>

  constructor(code: ErrorCode, message: string, options: MersalErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'MersalError'
    this.code = code
    this.details = options.details ?? {}
    Object.defineProperty(this, brand, { value: true })
  }
}

/**
 * True for a `MersalError` of any installed copy, optionally only with this code. May be asked of
 * whatever was thrown: a value that cannot be looked at is none.
 */
export function isMersalError(value: unknown, code?: ErrorCode): value is MersalError {
  try {
    if (typeof value !== 'object' || value === null || !(brand in value)) return false
    return code === undefined || (value as { code?: unknown }).code === code
  } catch {
    return false
  }
}
