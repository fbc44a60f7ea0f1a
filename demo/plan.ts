import type { CrashPoint } from '../src/testing/crash-points.ts'

/** The only argument of a child, as JSON. */
export interface ChildPlan {
  readonly folder: string
  /** Stop there and wait to be killed. */
  readonly stop?: { readonly point: CrashPoint; readonly nth: number }
  /** Lines whose handler in finance fails twice, and always. */
  readonly failsTwice: number
  readonly failsAlways: number
}

/** File descriptor on which a child says that it has reached its point. */
export const REPORT_FD = 3
/** How long a claim, a grace or a delivery is held by a dead process. The defaults are 15 s, 10 s and 30 s. */
export const HOLD_MS = 1200
