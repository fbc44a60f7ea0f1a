/** Times at which the relay looks again, because a row that it gave back falls due then. */
export interface Agenda {
  /** Monotonic milliseconds. */
  add(at: number): void
  /** The earliest time, or Infinity. */
  readonly next: number
  /** Drops every time up to now; true if there was one. */
  take(now: number): boolean
}

/** Times are rounded up to this, so that a thousand rows with nearly the same delay are one entry. */
const STEP_MS = 50
/** Beyond this many entries the poll timer is enough. */
const LONGEST = 500

export function createAgenda(): Agenda {
  const times = new Set<number>()
  let next = Infinity
  return {
    get next() {
      return next
    },
    add(at) {
      const time = Math.ceil(at / STEP_MS) * STEP_MS
      if (time >= next && times.size >= LONGEST) return
      times.add(time)
      if (time < next) next = time
    },
    take(now) {
      if (now < next) return false
      next = Infinity
      for (const time of times) {
        if (time <= now) times.delete(time)
        else if (time < next) next = time
      }
      return true
    },
  }
}
