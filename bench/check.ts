import type { Keys } from './messages.ts'

/** Counts what arrives: nothing may be missing or doubled, and the numbers of one key must rise. */
export interface Check {
  saw(number: number): void
  readonly count: number
  /** `ordered: false`: who was measured promises no order. */
  faults(expected: Iterable<number>, options?: { readonly ordered?: boolean }): string[]
}

export function createCheck(keys: Keys): Check {
  const times = new Map<number, number>()
  const last = new Map<string, number>()
  let count = 0
  let late = 0

  function order(number: number): void {
    const key = keys.of(number)
    if (key === undefined) return
    if ((last.get(key) ?? -1) > number) late++
    else last.set(key, number)
  }

  return {
    get count() {
      return count
    },
    saw(number) {
      const before = times.get(number) ?? 0
      times.set(number, before + 1)
      count++
      if (before === 0) order(number)
    },
    faults(expected, { ordered = true } = {}) {
      let lost = 0
      let wanted = 0
      for (const number of expected) {
        wanted++
        if (!times.has(number)) lost++
      }
      const foreign = times.size - (wanted - lost)
      const doubled = count - times.size
      return [
        ...(lost > 0 ? [`${lost} of ${wanted} lost`] : []),
        ...(doubled > 0 ? [`${doubled} doubled`] : []),
        ...(foreign > 0 ? [`${foreign} that nobody committed`] : []),
        ...(ordered && late > 0 ? [`${late} out of order`] : []),
      ]
    },
  }
}

export function* upTo(last: number): Iterable<number> {
  for (let number = 1; number <= last; number++) yield number
}
