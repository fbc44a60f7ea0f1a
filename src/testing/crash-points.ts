import { checkOptions, checkShape, invalidOption } from '../core/options.ts'
import type { Store } from '../core/store.ts'
import type { Transport } from '../core/transport.ts'
import type { AtCrashPoint } from './crash-points/points.ts'
import { storeWithPoints } from './crash-points/store.ts'
import { transportWithPoints } from './crash-points/transport.ts'

export { commitPoints } from './crash-points/commit.ts'
export { type AtCrashPoint, type CrashPoint, crashPointList } from './crash-points/points.ts'
export { storeWithPoints, transportWithPoints }

/** Options of `crashPoints()`. */
export interface CrashPointsOptions<Tx> {
  /** The store of the app under test. */
  readonly store: Store<Tx>
  /** The transport of the app under test. */
  readonly transport: Transport
  /** Called at each point; it may wait, throw, or end the process. */
  readonly at: AtCrashPoint
}

/**
 * Wraps the ports of an app so that `at` is called at the points of `crashPointList`. The code of
 * the core is the same as without: it has no hooks. P5 and C6 need `commitPoints` as well, and C4
 * is called by the handler of the test.
 *
 * A batch is published in two halves, one after the other, so that R4 and R6 exist for batches of
 * two and more; of a key that was not confirmed in the first half, the second half answers
 * `unavailable` without being sent.
 *
 * Throws `MERSAL_INVALID_OPTIONS`.
 */
export function crashPoints<Tx>(options: CrashPointsOptions<Tx>): {
  readonly store: Store<Tx>
  readonly transport: Transport
} {
  checkOptions('crashPoints()', options, ['store', 'transport', 'at'])
  const { store, transport, at } = options
  checkShape('crashPoints().store', store, ['open'])
  checkShape('crashPoints().transport', transport, ['publish', 'consume'])
  if (typeof at !== 'function')
    throw invalidOption('crashPoints().at', 'expected a function that is called at each point')
  return { store: storeWithPoints(store, at), transport: transportWithPoints(transport, at) }
}
