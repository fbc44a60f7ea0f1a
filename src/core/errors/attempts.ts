import { withoutSecrets } from '../../lib/secrets.ts'
import { byteLength } from '../../lib/text.ts'
import { errorCode, errorText } from './error-text.ts'

/** An attempt that failed and was charged to its message. */
export interface FailedAttempt {
  /**
   * Its number, from 1. Where one is missing, nobody said what became of it: whoever had the
   * message in hand died, or there were more than are kept.
   */
  readonly attempt: number
  /** When it failed, in milliseconds since the Unix epoch. */
  readonly at: number
  /** Of the error, or of the first of its causes that has one; `none` without any. */
  readonly code: string
  /** The error with its causes, cut. Secrets are hidden. */
  readonly error: string
}

/** Kept of one message: the first attempt, and the newest ones. */
const MOST = 10
/** Of one attempt, as JSON in UTF-8: all together have at most 8 kB. */
const BYTES = 800
/** Of one attempt in a header of a message. */
export const HEADER_BYTES = 400
/** In characters. */
const SHORTEST = 300

/**
 * What is noted of the attempts of a message, as JSON, with one more. `earlier`: what has been
 * noted so far; what it says of this number or of later ones comes from a life before a retry by
 * hand. `bytes`: of one attempt.
 */
export function historyWith(
  earlier: unknown,
  failure: { readonly attempt: number; readonly at: number; readonly error: unknown },
  bytes: number = BYTES,
): string {
  const { attempt, at, error } = failure
  const before = attemptsOf(earlier).filter((one) => one.attempt < attempt)
  const kept = before.length < MOST ? before : [...before.slice(0, 1), ...before.slice(2 - MOST)]
  const texts = [...kept.map((one) => entryText(one, bytes)), entry(attempt, at, error, bytes)]
  return `[${texts.join(',')}]`
}

function entry(attempt: number, at: number, error: unknown, bytes: number): string {
  const rest = { attempt, at: Math.round(at), code: errorCode(error) }
  const room = bytes - byteLength(JSON.stringify({ ...rest, error: '' }))
  const sizeOf = (text: string): number => byteLength(JSON.stringify(text)) - 2
  // A chain of many causes cannot be cut to less.
  const textOf = (longest: number): string => errorText(error, Math.max(longest, SHORTEST))
  let text = textOf(room)
  const size = sizeOf(text)
  // Once more by what a character needs here: the longest parts are cut, and no cause gets lost.
  if (size > room) text = textOf(Math.floor((text.length * room) / size))
  while (sizeOf(text) > room && text !== '')
    text = text.slice(0, Math.floor(text.length * 0.9)).toWellFormed()
  return JSON.stringify({ ...rest, error: text })
}

/** Nothing that somebody else has written there makes it longer. */
function entryText(one: FailedAttempt, bytes: number): string {
  const text = JSON.stringify(one)
  return byteLength(text) <= bytes ? text : JSON.stringify({ ...one, error: '' })
}

/** What was noted, the earliest first. Of what somebody else has written there, nothing. */
export function attemptsOf(noted: unknown): readonly FailedAttempt[] {
  if (typeof noted !== 'string') return []
  try {
    const parsed: unknown = JSON.parse(noted)
    return Array.isArray(parsed) ? parsed.slice(0, MOST).flatMap(attemptOf) : []
  } catch {
    return []
  }
}

function attemptOf(value: unknown): readonly FailedAttempt[] {
  if (typeof value !== 'object' || value === null) return []
  const { attempt, at, code = 'none', error } = value as Readonly<Record<string, unknown>>
  if (!Number.isSafeInteger(attempt) || typeof at !== 'number' || !Number.isFinite(at)) return []
  if (typeof code !== 'string' || typeof error !== 'string') return []
  const texts = { code: shown(code).slice(0, 100), error: shown(error).slice(0, 2000) }
  return [{ attempt: attempt as number, at, ...texts }]
}

const shown = (text: string): string => withoutSecrets(text).toWellFormed()
