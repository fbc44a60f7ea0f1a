import { createHash } from 'node:crypto'
import type { BodyCodec, DecodedMessage, EncodedMessage } from '../core/messages/codec.ts'
import { errorFields } from '../core/errors/error-text.ts'
import { MersalError } from '../core/errors/errors.ts'
import { checkNumber, checkOptions, checkShape } from '../core/options.ts'
import { backoffMs } from '../lib/async/backoff.ts'
import { abortable, linkAbort } from '../lib/async/linked-abort.ts'
import { parseJson } from '../lib/json.ts'
import { printable } from '../lib/text.ts'
import type { BodyStore, StoredBody } from './bodies.ts'

/** Options of `claimCheck()`. */
export interface ClaimCheckOptions {
  /** Where large bodies are kept: `fileBodies()`, `s3Bodies()` or one of your own. */
  readonly store: BodyStore
  /** A body with more bytes goes to the store. From 0 to 1 GiB. */
  readonly aboveBytes: number
  /**
   * How many days a body is kept. Longer than a message may wait in an outbox, a queue or as a dead
   * letter. From 1 to 3,650. Default 30.
   */
  readonly keepDays?: number
  /** A larger body is neither sent nor fetched. From 1 byte to 1 GiB. Default 256 MiB. */
  readonly largestBytes?: number
  /**
   * How long one call of the store may take, in milliseconds. Default 30,000, at most 10 minutes.
   */
  readonly timeoutMs?: number
}

interface Check extends Required<Omit<ClaimCheckOptions, 'aboveBytes'>> {
  /** Calls of the store that have failed, one after the other. */
  failures: number
  /** When old bodies are removed next, in milliseconds since the Unix epoch. */
  pruneAt: number
}

const GIB = 1024 ** 3
const DAY_MS = 86_400_000
const HOUR_MS = 3_600_000
const PROBES = { firstMs: 1000, longestMs: 30_000 }
const KEY = /^\d{4}-\d\d-\d\d\/[A-Za-z0-9._-]{1,128}$/
const PLACE = /^[A-Za-z0-9._-]{1,64}$/
const SHA256 = /^[0-9a-f]{64}$/

/**
 * Keeps bodies above a size in a store. What travels in their place says where they are, with their
 * length and SHA-256. It must be the last codec.
 *
 * A body is stored before its message is. So a message that is committed has its body, and one that
 * is rolled back leaves a body that nobody needs. Bodies are removed by their age. A store that is
 * away fails the send (`MERSAL_UNAVAILABLE`); a message that is handled meanwhile waits without
 * being charged. A body that is missing, or another one, makes a dead letter (`undecodable`).
 * Throws `MERSAL_INVALID_OPTIONS`.
 */
export function claimCheck(options: ClaimCheckOptions): BodyCodec {
  const field = 'claimCheck'
  checkOptions(field, options, ['store', 'aboveBytes', 'keepDays', 'largestBytes', 'timeoutMs'])
  const { store } = options
  checkShape(`${field}.store`, store, ['put', 'get'])
  const size = { min: 0, max: GIB }
  const aboveBytes = checkNumber(`${field}.aboveBytes`, options.aboveBytes ?? Number.NaN, {
    default: 0,
    ...size,
  })
  const check: Check = {
    store,
    keepDays: checkNumber(`${field}.keepDays`, options.keepDays, {
      default: 30,
      min: 1,
      max: 3650,
    }),
    largestBytes: checkNumber(`${field}.largestBytes`, options.largestBytes, {
      ...size,
      default: 256 * 1024 ** 2,
      min: 1,
    }),
    timeoutMs: checkNumber(`${field}.timeoutMs`, options.timeoutMs, {
      default: 30_000,
      min: 1,
      max: 600_000,
    }),
    failures: 0,
    pruneAt: 0,
  }
  return {
    name: 'claim-check',
    last: true,
    encode: (body, about) =>
      body.byteLength > aboveBytes ? checkIn(check, body, about) : undefined,
    decode: (body, about) => checkOut(check, body, about),
  }
}

interface Reference {
  readonly key: string
  readonly bytes: number
  readonly sha256: string
  /** Where the store has put it, if it says so. */
  readonly place?: string
}

const sha256Of = (body: Uint8Array): string => createHash('sha256').update(body).digest('hex')
const dayOf = (ms: number): string => new Date(ms).toISOString().slice(0, 10)

async function checkIn(check: Check, body: Uint8Array, about: EncodedMessage): Promise<Uint8Array> {
  if (body.byteLength > check.largestBytes) throw tooLarge(check, body, about)
  const sha256 = sha256Of(body)
  const key = `${dayOf(Date.now())}/${about.id}-${sha256.slice(0, 16)}`
  const place = await call(check, about, async (signal) =>
    placeIn(await check.store.put(key, body, { signal })),
  )
  pruneSometimes(check, about)
  const reference: Reference = { key, bytes: body.byteLength, sha256, ...place }
  return Buffer.from(JSON.stringify(reference))
}

/** Whoever has this setting would make a dead letter of it. */
function tooLarge(
  { largestBytes: limit }: Check,
  { byteLength: size }: Uint8Array,
  { type }: EncodedMessage,
): MersalError {
  const text = `the body of '${printable(type)}' has ${size} bytes, and claimCheck.largestBytes is ${limit}: raise it here and at every receiver, or send less`
  return new MersalError('MERSAL_TOO_LARGE', text, { details: { type, size, limit } })
}

function placeIn(stored: StoredBody | void): StoredBody {
  const place = stored?.place
  if (place === undefined) return {}
  if (typeof place === 'string' && PLACE.test(place)) return { place }
  throw new Error('the store answered with a place that is none: see StoredBody.place')
}

async function checkOut(
  check: Check,
  body: Uint8Array,
  about: DecodedMessage,
): Promise<Uint8Array> {
  const { key, bytes, sha256, ...place } = referenceIn(body, about)
  if (bytes > check.largestBytes)
    throw unreadable(
      about,
      `has ${bytes} bytes, and claimCheck.largestBytes is ${check.largestBytes}`,
    )
  const found = await call(
    check,
    about,
    (signal) => check.store.get(key, { signal, ...place }),
    about.signal,
  )
  if (found === undefined || found === null)
    throw unreadable(
      about,
      `is no longer in the store (claimCheck.keepDays): nothing is under '${key}'`,
    )
  if (found.byteLength === bytes && sha256Of(found) === sha256) return found
  throw unreadable(
    about,
    `is another one in the store: '${key}' has not the length and the SHA-256 that were sent`,
  )
}

function referenceIn(body: Uint8Array, about: EncodedMessage): Reference {
  let given: Partial<Reference> | null
  try {
    given = parseJson(Buffer.from(body).toString()) as Partial<Reference> | null
  } catch (cause) {
    throw unreadable(about, 'came without a reference that claimCheck() wrote', cause)
  }
  const { key, bytes, sha256, place } = given ?? {}
  // The key becomes a path: it must not lead out of the store.
  const sound =
    typeof key === 'string' &&
    KEY.test(key) &&
    !key.includes('..') &&
    Number.isSafeInteger(bytes) &&
    typeof sha256 === 'string' &&
    SHA256.test(sha256) &&
    (place === undefined || (typeof place === 'string' && PLACE.test(place)))
  if (!sound) throw unreadable(about, 'came without a reference that claimCheck() wrote')
  return { key, bytes: bytes as number, sha256, ...(place === undefined ? {} : { place }) }
}

/** One call of the store, bounded in time. Throws `MERSAL_UNAVAILABLE` if it fails. */
async function call<Result>(
  check: Check,
  { type }: EncodedMessage,
  work: (signal: AbortSignal) => Promise<Result>,
  outer?: AbortSignal,
): Promise<Result> {
  using link = linkAbort(AbortSignal.timeout(check.timeoutMs), outer)
  const { signal } = link
  try {
    const result = await abortable(signal, () => work(signal))
    check.failures = 0
    return result
  } catch (cause) {
    check.failures++
    const retryAfterMs = backoffMs(PROBES, check.failures, Math.random)
    const text = `the store for large bodies (claimCheck) failed at '${printable(type)}'`
    throw new MersalError('MERSAL_UNAVAILABLE', text, { cause, details: { type, retryAfterMs } })
  }
}

/** Once an hour, beside what is sent. A failure is logged, and changes nothing for the message. */
function pruneSometimes(check: Check, { logger }: EncodedMessage): void {
  const now = Date.now()
  if (check.store.prune === undefined || now < check.pruneAt) return
  check.pruneAt = now + HOUR_MS
  const prune = async (): Promise<unknown> =>
    check.store.prune?.(dayOf(now - check.keepDays * DAY_MS))
  prune().catch((error: unknown) => {
    logger.warn(errorFields(error), 'old bodies could not be removed from the store (claimCheck)')
  })
}

function unreadable({ type, id }: EncodedMessage, why: string, cause?: unknown): MersalError {
  return new MersalError('MERSAL_DECODE', `the body of '${printable(type)}' ${why}`, {
    ...(cause === undefined ? {} : { cause }),
    details: { type, id },
  })
}
