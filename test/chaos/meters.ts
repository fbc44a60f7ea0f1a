/** What a process says about itself: the counters of `/metrics`, and the events of its handlers. */
import { subscribe } from 'node:diagnostics_channel'
import type { Metric } from '../../src/metrics/exposition.ts'
import type { Events } from '../../src/core/telemetry.ts'
import { now } from './history.ts'
import type { SourceOfProcess } from './source.ts'

/** By name, such as `published confirmed`. */
export type Readings = Readonly<Record<string, number>>

const total = (metrics: readonly Metric[], name: string, outcome?: string): number =>
  metrics
    .filter((metric) => metric.name === `mersal_relay_${name}_total`)
    .flatMap(({ samples }) => samples)
    .reduce(
      (sum, { labels, value }) =>
        sum + (outcome === undefined || labels['outcome'] === outcome ? value : 0),
      0,
    )

/** Starts counting; the function that it returns reads what has been counted. */
export function openMeters({ metrics }: SourceOfProcess): () => Readings {
  const relay = metrics.createRelayMetrics(now)
  let delivered = 0
  let givenBack = 0
  subscribe('mersal:handle', (told) => {
    if ((told as Events['mersal:handle']).outcome === 'release') givenBack += 1
    else delivered += 1
  })
  return () => {
    const all = relay.metrics()
    const published = ['confirmed', 'refused', 'unknown'].map(
      (outcome) => [`published ${outcome}`, total(all, 'published', outcome)] as const,
    )
    return {
      ...Object.fromEntries(published),
      claimed: total(all, 'claimed_messages'),
      settled: total(all, 'settled'),
      'settled too late': total(all, 'lost_claims'),
      delivered,
      'given back': givenBack,
    }
  }
}
