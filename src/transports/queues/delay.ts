import { LONGEST_DELAY_MS } from '../../core/messages/validation.ts'

/** Milliseconds that can be added to the time of a database, whatever was given. */
export function delayOf(given: number | undefined): number {
  return Math.min(Math.max(Number(given) || 0, 0), LONGEST_DELAY_MS)
}
