/** A second workload: sagas, requests that take effect once, and handling in order. */
import type { StoreKind } from '../plan.ts'

/** Stores that have it. */
export const featureKinds: readonly StoreKind[] = ['postgres', 'sqlite']
/** Name of the app with the saga and the ordered handlers, and of its queue. */
export const CLERK = 'clerk'
export const SAGA = 'feature.order'
/** All begin alike, so that other checkers know them. */
export const featureTypes = {
  start: 'feature.start',
  pay: 'feature.pay',
  step: 'feature.step',
} as const
export const UNPAID_MS = 1500
export const A_DAY_MS = 86_400_000
/** Keys of what is handled in order. */
export const STEP_KEYS = 6

/**
 * `paid`: both halves come. `unpaid`: none. `open`: one half, and a timeout of a day. `again`: one
 * half, which sets the timeout anew.
 */
export type Course = 'paid' | 'unpaid' | 'open' | 'again'
export function courseOf(number: number): Course {
  if (number % 20 === 2) return 'open'
  return (['paid', 'unpaid', 'again', 'paid'] as const)[number % 4] as Course
}
export const partsOf = (number: number): readonly number[] =>
  ({ paid: [1, 2], unpaid: [], open: [1], again: [1] })[courseOf(number)]
export const timeoutMs = (number: number): number =>
  courseOf(number) === 'open' ? A_DAY_MS : UNPAID_MS

/** Faults under which it runs: none that knows the rows of the other workload alone. */
export const featureNemeses: Readonly<Partial<Record<StoreKind, readonly string[]>>> = {
  postgres: [
    'kill',
    'crash',
    'term',
    'pause',
    'hang',
    'clock-jump',
    'terminate',
    'database-restart',
    'database-crash',
    'broker-restart',
    'broker-crash',
    'broker-pause',
    'alarm',
    'reset',
    'black-hole',
    'slow',
    'database-away',
    'read-only',
  ],
  sqlite: ['kill', 'crash', 'term', 'pause', 'hang', 'busy'],
}
