/** How many rows one look walks over. For tests: fixed. */
export interface StretchSizes {
  readonly sweep?: number
  readonly look?: number
}

export interface StretchSize {
  /** Rows of the next stretch of a sweep. */
  readonly sweep: number
  /** Rows of any other look. */
  readonly look: number
  /** A stretch took this time; `cut`: there were more rows than it walked over. */
  took(ms: number, cut: boolean): void
  /** It did not end in time. */
  failed(): void
}

/** A stretch shall take about this long, so that nothing else waits for long. */
const SHORT_MS = 12
const LONG_MS = 50
const FIRST = 10_000
const [LEAST, MOST] = [500, 40_000]
/** Four for each row of a claim of the usual size: some of them wait for their key. */
const LOOK = 2000

export function createStretchSize(fixed: StretchSizes): StretchSize {
  let sweep = fixed.sweep ?? FIRST
  const change = (factor: number): void => {
    if (fixed.sweep === undefined)
      sweep = Math.min(MOST, Math.max(LEAST, Math.round(sweep * factor)))
  }
  return {
    get sweep() {
      return sweep
    },
    look: fixed.look ?? LOOK,
    took(ms, cut) {
      if (ms > LONG_MS) change(0.5)
      else if (cut && ms < SHORT_MS) change(2)
    },
    failed: () => change(0.25),
  }
}
