/**
 * Remembers which messages ended an attempt without an answer, for as long as this relay may still
 * have to give them up: the broker may hold them after all, or a late frame may still arrive.
 */
export interface Unanswered {
  /** Monotonic milliseconds of the last unanswered attempt. */
  note(position: bigint, at: number): void
  /** When it last was without an answer, or undefined. */
  last(position: bigint): number | undefined
  forget(position: bigint): void
}

/** The oldest are forgotten beyond this many. */
const LONGEST = 10_000

export function createUnanswered(): Unanswered {
  const times = new Map<bigint, number>()
  return {
    note(position, at) {
      times.delete(position)
      times.set(position, at)
      if (times.size <= LONGEST) return
      const oldest = times.keys().next()
      if (oldest.done !== true) times.delete(oldest.value)
    },
    last: (position) => (times.size === 0 ? undefined : times.get(position)),
    forget(position) {
      if (times.size > 0) times.delete(position)
    },
  }
}
