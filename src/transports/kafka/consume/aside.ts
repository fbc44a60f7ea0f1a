import { type DeadReason, isDeadReason } from '../../../core/dead-letter.ts'
import { parseJson } from '../../../lib/json.ts'

/** What had been decided about a message whose dead letter could not be stored. */
export interface Aside {
  readonly reason: DeadReason
  readonly error: string
}

/** Text for a header. */
export function encodeAside(aside: Aside): string {
  return JSON.stringify(aside)
}

/** Undefined for a header of a foreign hand: the message is one like others. */
export function decodeAside(text: string | undefined): Aside | undefined {
  if (text === undefined) return undefined
  try {
    const parsed: unknown = parseJson(text)
    if (typeof parsed !== 'object' || parsed === null) return undefined
    const { reason, error } = parsed as Record<string, unknown>
    return isDeadReason(reason) && typeof error === 'string' ? { reason, error } : undefined
  } catch {
    // No JSON: somebody else has put it there.
    return undefined
  }
}
