import type { FailedAttempt } from '../../core/errors/attempts.ts'
import { isoTime } from '../output.ts'

/** The attempts of a message for programs. */
export const historyJson = (history: readonly FailedAttempt[]): readonly object[] =>
  history.map(({ at, ...rest }) => ({ ...rest, at: isoTime(at) }))

/** The same for people: one line for each attempt, with its number and time. */
export const historyFacts = (
  history: readonly FailedAttempt[],
): readonly (readonly [string, string])[] =>
  history.map(({ attempt, at, error }) => [`attempt ${attempt}`, `${isoTime(at)}  ${error}`])
