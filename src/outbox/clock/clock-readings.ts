import type { Clock } from '../../lib/async/clock.ts'

/**
 * How far a foreign clock is ahead of our monotonic one: between these two, since its answer took a
 * while.
 */
export interface Offset {
  readonly least: number
  readonly most: number
}

/** Reads a foreign clock. Whatever the answer says besides is passed on. */
export async function offsetOf<Answer extends { readonly now: number }>(
  clock: Clock,
  read: () => Promise<Answer>,
): Promise<Offset & { readonly answer: Answer }> {
  const asked = clock.monotonic()
  const answer = await read()
  return { least: answer.now - clock.monotonic(), most: answer.now - asked, answer }
}

/**
 * So far it was set between the two readings at least, whatever the answers took: below 0, back.
 */
export function moved(before: Offset, after: Offset): number {
  if (after.most < before.least) return after.most - before.least
  return Math.max(0, after.least - before.most)
}
