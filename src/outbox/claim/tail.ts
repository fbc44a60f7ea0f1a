/** From where on new rows arrive. */
export interface Tail {
  /** Something has been claimed, or the end of the outbox has been seen. */
  readonly known: boolean
  /** The last row of the outbox, as the first sweep found it; said later, it changes nothing. */
  startAt(position: bigint): void
  /** This row has been claimed. */
  claimed(position: bigint, now: number): void
  /** Rows below this position have been looked at. */
  mark(position: bigint, now: number): void
  /** `lagging`: with what has been looked at in the last second. */
  from(lagging: boolean, now: number): bigint
}

/**
 * A transaction that commits late adds a row below what has been looked at. Where sweeps are
 * frequent they find it; in a large outbox the looks at the tail begin where they ended this long
 * ago.
 */
const LAG_MS = 1000
/** Marks are no closer than this. */
const APART_MS = 50

export function createTail(): Tail {
  let highest: bigint | undefined
  /** Rising in both. */
  let marks: { readonly position: bigint; readonly at: number }[] = []

  function mark(position: bigint, at: number): void {
    const last = marks.at(-1)
    if (
      last !== undefined &&
      (position <= last.position || (marks.length > 1 && at - last.at < APART_MS))
    )
      return
    marks.push({ position, at })
  }

  return {
    get known() {
      return highest !== undefined
    },
    startAt(position) {
      if (marks.length === 0) marks.push({ position, at: -Infinity })
      highest ??= position
    },
    claimed(position, now) {
      if (highest !== undefined && position <= highest) return
      highest = position
      mark(position, now)
    },
    mark(position, now) {
      mark(position, now)
    },
    from(lagging, now) {
      while (marks.length > 1 && (marks[1]?.at ?? 0) <= now - LAG_MS) marks.shift()
      return lagging ? (marks[0]?.position ?? 0n) : (highest ?? 0n)
    },
  }
}
