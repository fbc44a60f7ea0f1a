import { errorTextWithStack } from '../../core/errors/error-text.ts'
import type { DeadReason } from '../../core/dead-letter.ts'
import type { Disposition } from '../../core/transport.ts'

/** What is logged of messages whose dead letters cannot be stored. */
export const cannotBury =
  'dead letters cannot be stored; the messages are set aside and their dead letters are tried again later, everything else goes on'

const FIRST_MS = 60_000
const LATER_MS = 600_000

/**
 * How long a message waits whose dead letter could not be stored, for the first time or again, in
 * milliseconds.
 */
export function asideMs(again: boolean): number {
  return again ? LATER_MS : FIRST_MS
}

/**
 * What had been decided about a message before it was set aside. The text is the one of then, and
 * is stored as it is.
 */
export function setAside(
  reason: string,
  text: string | null,
): Disposition & { readonly kind: 'reject' } {
  return { kind: 'reject', reason: reason as DeadReason, error: new SetAside(text ?? '') }
}

/** Stands for an error whose text is all that is left. */
class SetAside extends Error {}

/** What is stored of the error with which a message was given up. */
export function deadText(error: Error): string {
  return asideText(error) ?? errorTextWithStack(error)
}

/** The text of an error that comes from a message which was set aside. */
export function asideText(error: Error): string | undefined {
  return error instanceof SetAside ? error.message : undefined
}
