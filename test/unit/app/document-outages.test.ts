import { expect, test } from 'vitest'
import { Outages } from '../../../src/app/documents/outages.ts'
import { FAILURES_TO_OPEN } from '../../../src/outbox/limits/breaker.ts'
import { manualClock } from '../../../src/testing/manual-clock.ts'
import { confirmed, unknown } from '../../../src/transports/shared/outcomes.ts'
import { message } from '../outbox/support.ts'

/**
 * A message is handed over while its destination is well, and its answer is late. Others fail, the
 * breaker opens, a probe goes. Then the late answer comes, before that of the probe.
 */
test('P8: a late answer from before an outage is not that of the probe', async () => {
  const clock = manualClock()
  const outages = new Outages({ clock, random: () => 1, most: 1 })
  const one = message('1')
  expect(outages.admit(one, true)).toBe('yes')
  for (let failure = 0; failure < FAILURES_TO_OPEN; failure++)
    outages.answered(one, unknown('no answer'), false)
  expect(outages.admit(one, true)).toBe('no')
  await clock.advance(1000)
  expect(outages.admit(one, true)).toBe('probe')
  outages.answered(one, unknown('the late one'), false)
  await clock.advance(60_000)
  expect(outages.admit(one, true)).toBe('no')
  outages.answered(one, confirmed, true)
  expect(outages.admit(one, true)).toBe('yes')
})
