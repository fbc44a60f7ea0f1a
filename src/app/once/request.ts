import { createHash } from 'node:crypto'
import { MersalError } from '../../core/errors/errors.ts'
import { type OnceKey, onceTimes } from '../../core/records/once.ts'
import { checkPartitionKey } from '../../core/messages/validation.ts'
import { checkNumber, checkOptions, checkSignal, invalidOption } from '../../core/options.ts'

/** What `app.once` is told of a request. Times are in milliseconds. */
export interface OnceRequest {
  /**
   * Names the request: whoever repeats it gives the same key. 1 to 255 bytes of UTF-8 without
   * control characters.
   */
  readonly key: string
  /**
   * Whose keys these are, such as a user or a tenant: the same key in another scope is another
   * request. 1 to 255 bytes as `key`. Default: one scope for all.
   */
  readonly scope?: string
  /**
   * What the request asks for, such as its body. The same key with another fingerprint throws
   * `MERSAL_ONCE_REUSED`. Of any length; a hash of it is stored. Default: not compared.
   */
  readonly fingerprint?: string | Uint8Array
  /**
   * How long to wait while the same request runs elsewhere; then `MERSAL_ONCE_RUNNING`. 0: not at
   * all. From 0 to an hour. Default 5,000.
   */
  readonly waitMs?: number
  /**
   * The response is kept for at least this time. From a second to ten years. Default 24 hours.
   */
  readonly keepMs?: number
  /**
   * Ends the waiting, and gives the transaction up: it is rolled back. Default: nothing gives it
   * up.
   */
  readonly signal?: AbortSignal
}

/** What came of a request. */
export interface OnceResult<Response> {
  /** As JSON carries it: the first call gets what every repeat will get. */
  readonly response: Response
  /** False: this call has done the work. True: an earlier one had. */
  readonly replayed: boolean
}

/** A request that was checked. */
export interface CheckedRequest {
  readonly key: OnceKey
  readonly fingerprint: string
  readonly waitMs: number
  readonly keepMs: number
  readonly signal: AbortSignal | undefined
}

const known = ['key', 'scope', 'fingerprint', 'waitMs', 'keepMs', 'signal']

/** Throws `MERSAL_INVALID_OPTIONS`, or `MERSAL_ONCE_KEY`, which name the field. */
export function checkRequest(app: string, request: OnceRequest): CheckedRequest {
  checkOptions('once()', request, known)
  const { key, scope, signal } = request
  checkKey('key', key)
  if (scope !== undefined) checkKey('scope', scope)
  return {
    key: { app, scope: scope ?? '', key },
    fingerprint: fingerprintOf(request.fingerprint),
    waitMs: checkNumber('once().waitMs', request.waitMs, onceTimes.waitMs),
    keepMs: checkNumber('once().keepMs', request.keepMs, onceTimes.keepMs),
    signal: checkSignal('once().signal', signal),
  }
}

function checkKey(field: 'key' | 'scope', given: unknown): void {
  try {
    checkPartitionKey(given)
  } catch (cause) {
    const why =
      typeof given === 'string'
        ? 'expected 1 to 255 bytes of well-formed text without control characters'
        : `expected text, got ${given === null ? 'null' : typeof given}`
    const details = { field: `once().${field}` }
    throw new MersalError('MERSAL_ONCE_KEY', `once().${field}: ${why}`, { cause, details })
  }
}

function fingerprintOf(given: unknown): string {
  if (given === undefined) return ''
  if (typeof given !== 'string' && !(given instanceof Uint8Array))
    throw invalidOption('once().fingerprint', 'expected text or bytes')
  return createHash('sha256').update(given).digest('hex')
}
