import { describe, expect, test } from 'vitest'
import { attemptsOf, HEADER_BYTES, historyWith } from '../../../../src/core/errors/attempts.ts'

const failure = (attempt: number, error: unknown = new Error('no')) => ({
  attempt,
  at: attempt * 10,
  error,
})

/** What is noted after failures with these numbers. */
function after(numbers: readonly number[], error?: unknown): string {
  return numbers.reduce((noted, n) => historyWith(noted, failure(n, error)), '')
}

const upTo = (n: number): readonly number[] => Array.from({ length: n }, (_, index) => index + 1)
const numbersIn = (noted: string): readonly number[] =>
  attemptsOf(noted).map(({ attempt }) => attempt)

describe('the history of the attempts of a message', () => {
  test('keeps the first failure and the newest nine', () => {
    expect(numbersIn(after(upTo(10)))).toEqual(upTo(10))
    expect(numbersIn(after(upTo(30)))).toEqual([1, 22, 23, 24, 25, 26, 27, 28, 29, 30])
    expect(attemptsOf(after([7]))).toEqual([
      { attempt: 7, at: 70, code: 'none', error: 'Error: no' },
    ])
  })

  test('has a bound of bytes, whatever the errors hold', () => {
    const texts = ['x', '"', '\u0001', '日', '🐪', '\ud800'].map((text) => text.repeat(3000))
    for (const text of texts) {
      for (const bytes of [undefined, HEADER_BYTES]) {
        let noted = ''
        for (const n of upTo(12)) noted = historyWith(noted, failure(n, new Error(text)), bytes)
        expect(Buffer.byteLength(noted)).toBeLessThanOrEqual(10 * (bytes ?? 800) + 11)
        expect(attemptsOf(noted)).toHaveLength(10)
      }
    }
  })

  test('shows the causes of a chain that has to be cut, and hides secrets', () => {
    const root = new Error('connect to postgres://shop:hunter2@db failed')
    const error = new Error('y'.repeat(5000), { cause: root })
    const [first] = attemptsOf(historyWith(undefined, failure(1, error)))
    expect(first?.error).toMatch(/y… *; caused by Error: connect to postgres/)
    expect(first?.error).not.toContain('hunter2')
  })

  test('ends with a chain of very many causes', () => {
    let error = new Error('0')
    for (let n = 1; n < 50; n++) error = new Error('z'.repeat(500), { cause: error })
    const noted = historyWith(undefined, failure(1, error), HEADER_BYTES)
    expect(Buffer.byteLength(noted)).toBeLessThanOrEqual(HEADER_BYTES + 2)
  })

  test('begins anew when the numbers do, and notes no number twice', () => {
    expect(numbersIn(historyWith(after([1, 2, 3]), failure(1)))).toEqual([1])
    expect(numbersIn(historyWith(after([1, 2, 3]), failure(3)))).toEqual([1, 2, 3])
  })

  test('begins anew behind what somebody else has written there', () => {
    for (const foreign of ['{', '{}', '[7, null, {"attempt": "1"}]', 7, undefined, null])
      expect(numbersIn(historyWith(foreign, failure(1)))).toEqual([1])
    const large = JSON.stringify([{ attempt: 1, at: 1, code: 'x', error: 'e'.repeat(1_000_000) }])
    const noted = historyWith(large, failure(2))
    expect(numbersIn(noted)).toEqual([1, 2])
    expect(Buffer.byteLength(noted)).toBeLessThan(1700)
  })
})
