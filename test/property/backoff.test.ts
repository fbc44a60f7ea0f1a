import fc from 'fast-check'
import { expect, test } from 'vitest'
import { backoffMs } from '../../src/lib/async/backoff.ts'
import { holdsFor } from './check.ts'

const milliseconds = fc.integer({ min: 1, max: 3_600_000 })
const failures = fc.integer({ min: 1, max: 1_000_000 })
const chance = fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true })

test('a delay is a whole number between half of its step and the whole of it, and never above the longest', async () => {
  await holdsFor(
    [milliseconds, milliseconds, failures, chance],
    (firstMs, longestMs, count, random) => {
      const delay = backoffMs({ firstMs, longestMs }, count, () => random)
      const step = Math.min(firstMs * 2 ** Math.min(count - 1, 1000), longestMs)
      expect(Number.isSafeInteger(delay)).toBe(true)
      expect(delay).toBeGreaterThanOrEqual(Math.floor(step / 2))
      expect(delay).toBeLessThanOrEqual(longestMs)
      expect(delay).toBeLessThanOrEqual(Math.ceil(step))
    },
  )
})

test('a later failure never waits less than an earlier one with the same luck', async () => {
  await holdsFor(
    [milliseconds, milliseconds, failures, failures, chance],
    (firstMs, longestMs, one, other, random) => {
      const [less = 0, more = 0] = [one, other]
        .sort((a, b) => a - b)
        .map((count) => backoffMs({ firstMs, longestMs }, count, () => random))
      expect(less).toBeLessThanOrEqual(more)
    },
  )
})
