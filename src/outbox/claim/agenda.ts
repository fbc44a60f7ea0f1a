/** Times at which the relay looks again, because a row that it gave back falls due then. */
export interface Agenda {
  /** Monotonic milliseconds, and the position of the row. */
  add(at: number, position: bigint): void
  /** The earliest time, or Infinity. */
  readonly next: number
  /**
   * Drops every time up to now. Returns the lowest position of the rows that fall due; undefined if
   * none does.
   */
  take(now: number): bigint | undefined
}

/**
 * Times are rounded up to this, so that a thousand rows with nearly the same delay are one entry.
 */
const STEP_MS = 50
/** Beyond this many entries the poll timer is enough. */
const LONGEST = 500

export function createAgenda(): Agenda {
  const times = new Map<number, bigint>()
  let next = Infinity
  return {
    get next() {
      return next
    },
    add(at, position) {
      const time = Math.ceil(at / STEP_MS) * STEP_MS
      if (time >= next && times.size >= LONGEST) return
      const known = times.get(time)
      if (known === undefined || position < known) times.set(time, position)
      if (time < next) next = time
    },
    take(now) {
      if (now < next) return undefined
      next = Infinity
      let lowest: bigint | undefined
      for (const [time, position] of times) {
        if (time <= now) {
          times.delete(time)
          if (lowest === undefined || position < lowest) lowest = position
        } else if (time < next) next = time
      }
      return lowest
    },
  }
}
