import { expect, test } from 'vitest'
import { exposition } from '../../../src/metrics/exposition.ts'
import { createRelayMetrics, outboxMetrics } from '../../../src/metrics/relay-metrics.ts'
import { replyQueue } from '../../../src/core/messages/reply-queues.ts'
import { emit } from '../../../src/core/telemetry.ts'

const many = 10_000
const place = (n: number): string => `default/queue/tenant-${n}`

test('ten thousand destinations in an outage do not grow the metrics, and nothing is left out of their sums', () => {
  using metrics = createRelayMetrics(() => 0)
  for (let n = 0; n < many; n++) {
    emit('mersal:publish', () => ({
      app: 'a',
      id: '1',
      to: place(n),
      outcome: 'unavailable',
      attempt: 1,
    }))
    emit('mersal:dead', () => ({ app: 'a', id: '1', to: place(n), reason: 'refused' }))
    emit('mersal:breaker', () => ({ app: 'a', destination: place(n), state: 'open' }))
  }
  const destinations = Array.from({ length: many }, (_, n) => ({
    destination: place(n),
    pending: n,
    due: 0,
    claimed: 0,
    dead: 1,
    oldestDueMs: 0,
    oldestMs: n * 1000,
  }))
  const counted = {
    pending: 0,
    claimed: 0,
    dead: 0,
    oldestDueMs: 0,
    due: 0,
    oldestMs: 0,
    kept: 0,
    destinations,
    keys: [],
  }
  const pauses = destinations.map(({ destination: name }) => ({
    kind: 'destination' as const,
    name,
    since: 0,
    reason: '',
  }))
  const text = exposition([...metrics.metrics(), ...outboxMetrics(counted, pauses)])
  expect(text.length).toBeLessThan(150_000)
  const total = (name: string): number =>
    text
      .split('\n')
      .filter((line) => line.startsWith(`${name}{`))
      .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0)
  expect(total('mersal_relay_published_total')).toBe(many)
  expect(total('mersal_relay_dead_total')).toBe(many)
  expect(total('mersal_relay_breaker')).toBe(many)
  expect(total('mersal_outbox_paused')).toBe(many)
  expect(total('mersal_outbox_destination_pending')).toBe((many * (many - 1)) / 2)
  // The heaviest are named.
  expect(text).toContain(
    `mersal_outbox_destination_pending{destination="${place(many - 1)}"} ${many - 1}`,
  )
  expect(text).toContain('mersal_relay_breaker{destination="other",state="open"} 9900')
  expect(text).toContain(
    `mersal_outbox_destination_oldest_seconds{destination="other"} ${many - 101}`,
  )
})

test('a destination in trouble is named before ones that are well', () => {
  using metrics = createRelayMetrics(() => 0)
  for (let n = 0; n < 500; n++)
    emit('mersal:breaker', () => ({ app: 'a', destination: place(n), state: 'closed' }))
  emit('mersal:breaker', () => ({ app: 'a', destination: place(900), state: 'open' }))
  const text = exposition(metrics.metrics())
  expect(text).toContain(`mersal_relay_breaker{destination="${place(900)}",state="open"} 1`)
  emit('mersal:breaker', () => ({ app: 'a', destination: place(900), state: 'closed' }))
  expect(exposition(metrics.metrics())).not.toContain(
    `{destination="${place(900)}",state="open"} 1`,
  )
})

test('queues for replies of processes that have gone take no place from other destinations', () => {
  using metrics = createRelayMetrics(() => 0)
  const publish = (name: string): void =>
    emit('mersal:publish', () => ({
      app: 'a',
      id: '1',
      to: `default/queue/${name}`,
      outcome: 'confirmed',
      attempt: 1,
    }))
  for (let n = 0; n < 200; n++) publish(replyQueue('shop', crypto.randomUUID()))
  publish('warehouse')
  const published = metrics.metrics().find(({ name }) => name === 'mersal_relay_published_total')
  expect(published?.samples.map(({ labels, value }) => [labels['destination'], value])).toEqual([
    ['default/queue/shop.replies', 200],
    ['default/queue/warehouse', 1],
  ])
})
