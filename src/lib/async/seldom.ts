import type { Clock } from './clock.ts'

/**
 * Whether it is time to log this again: the same text at most once in the given time. Remembers
 * few texts.
 */
export function seldom(
  clock: Pick<Clock, 'monotonic'>,
  everyMs: number,
): (text: string) => boolean {
  const said = new Map<string, number>()
  return (text) => {
    const now = clock.monotonic()
    if (now - (said.get(text) ?? Number.NEGATIVE_INFINITY) < everyMs) return false
    if (said.size >= MOST_TEXTS) said.clear()
    said.set(text, now)
    return true
  }
}

const MOST_TEXTS = 20
