import { describe, expect, test } from 'vitest'
import { negative, positive, type Configuration } from '../../model/configurations.ts'
import { missingPrograms, verify } from '../../model/spin.ts'
import { isPresent } from '../../scripts/servers/present.ts'

/**
 * Whether the model can be verified here; if not, says so loudly. It fails only where the run of
 * everything asks for it.
 */
function spinAvailable(): boolean {
  const missing = missingPrograms()
  const text = `NO ${missing.join(', NO ').toUpperCase()} (apt-get install spin gcc)`
  const required = process.env['MERSAL_TEST_REQUIRE_SPIN'] === 'true'
  return isPresent(missing.length === 0 ? undefined : text, required)
}

const small: Configuration = {
  name: 'small',
  says: '2 messages of one key, all faults',
  flags: { MESSAGES: 2, KEYS: 1 },
  breaks: [],
}
const mutants = negative.filter(({ name }) => ['no-gap-test', 'no-deadline'].includes(name))

describe.skipIf(!spinAvailable())('the model of the relay protocol', () => {
  test('keeps every promise with two messages of one key and all faults', {
    timeout: 240_000,
  }, () => {
    const verdict = verify(small, { optimise: false })
    expect(verdict).toMatchObject({ broken: undefined, incomplete: undefined })
    // A model that hardly moves keeps every promise.
    expect(verdict.unreached).toBe(0)
    expect(verdict.states).toBeGreaterThan(20_000)
  })

  test.each(mutants)('breaks a promise: $says', { timeout: 240_000 }, (configuration) => {
    const { broken, trail } = verify(configuration, { trail: true })
    expect(configuration.breaks).toContain(broken)
    expect(trail).toMatch(/^ {2}1 Writer 0: .*keyOf\[0\] = 1/)
  })
})

test('the configurations have names of their own, and every one that leaves a rule out says what breaks', () => {
  const names = [...positive, ...negative].map(({ name }) => name)
  expect(new Set(names).size).toBe(names.length)
  expect(positive.flatMap(({ breaks }) => breaks)).toEqual([])
  expect(negative.filter(({ breaks }) => breaks.length === 0)).toEqual([])
})
