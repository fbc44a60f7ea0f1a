import type { Evidence } from './evidence.ts'

/** What one checker found. A count above the limit is a violation. */
export interface Finding {
  readonly check: string
  /** What a count above the limit would mean. */
  readonly says: string
  readonly count: number
  readonly limit: number
  /** The first of them. */
  readonly witnesses: readonly string[]
  /** Where this checker cannot look, it says why. */
  readonly skipped?: string
}

export interface Checker {
  readonly check: string
  readonly says: string
  /** One text for each violation. */
  find(evidence: Evidence): readonly string[]
  skipped?(evidence: Evidence): string | undefined
}

export function findingOf(checker: Checker, evidence: Evidence): Finding {
  const { check, says } = checker
  const skipped = checker.skipped?.(evidence)
  if (skipped !== undefined) return { check, says, count: 0, limit: 0, witnesses: [], skipped }
  const all = checker.find(evidence)
  return { check, says, count: all.length, limit: 0, witnesses: all.slice(0, 10) }
}
