import { expect, test } from 'vitest'
import { monitorParts } from '../../../../src/cli/relay/relay-health.ts'
import { emit } from '../../../../src/core/telemetry.ts'
import { traced } from '../../../../src/core/traced.ts'
import { systemClock } from '../../../../src/lib/async/clock.ts'
import { createRelayMetrics } from '../../../../src/metrics/relay-metrics.ts'

test('a relay whose hands are full of what a slow broker holds is ready, however long ago its last claim was, until the database is silent to a settlement', async () => {
  // Whoever compares with another clock than that of the events sees claims of a minute ago.
  let now = systemClock.monotonic() - 60_000
  using metrics = createRelayMetrics(() => now)
  const relay = { name: 'main', app: 'hands', state: 'running', held: 500 } as never
  const watched = [{ relay, labels: {}, store: {} as never, patienceMs: 10_000 }]
  const parts = monitorParts({ name: 'hands', metrics, watched, queues: async () => [] })
  const ready = () => parts.readiness(undefined)
  expect(ready()).toMatchObject({ ready: false, text: 'the database has not answered yet' })
  await traced(
    'claim',
    () => ({ app: 'hands', limit: 500 }),
    async () => [],
  )
  emit('mersal:claim', () => ({ app: 'hands', messages: 500 }))
  now += 60_000
  expect(ready()).toMatchObject({ ready: true })
  const answer = Promise.withResolvers<void>()
  const settling = traced(
    'settle',
    () => ({ app: 'hands', messages: 1 }),
    () => answer.promise,
  )
  now += 10_000
  expect(ready()).toMatchObject({ ready: true })
  now += 1000
  expect(ready()).toMatchObject({
    ready: false,
    text: 'the database has not answered for 11 s',
  })
  answer.resolve()
  await settling
  expect(ready()).toMatchObject({ ready: true })
})
