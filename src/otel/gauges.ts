import type { Meter, ObservableCounter, ObservableGauge } from '@opentelemetry/api'
import type { Mersal } from '../app/mersal.ts'
import { createAppMetrics } from '../metrics/app-metrics.ts'
import type { Metric } from '../metrics/exposition.ts'

/** Tells the metrics of an app whenever they are collected, until it is disposed of. */
export function createGauges(meter: Meter, app: Mersal<unknown>): Disposable {
  const metrics = createAppMetrics(app)
  const instruments = new Map(metrics.catalogue.map((one) => [one.name, instrumentFor(meter, one)]))
  const all = [...instruments.values()]
  const observe: Parameters<Meter['addBatchObservableCallback']>[0] = async (result) => {
    for (const { name, samples } of await metrics.metrics()) {
      const instrument = instruments.get(name)
      if (instrument === undefined) continue
      for (const { labels, value } of samples) result.observe(instrument, value, labels)
    }
  }
  meter.addBatchObservableCallback(observe, all)
  return {
    [Symbol.dispose]() {
      meter.removeBatchObservableCallback(observe, all)
      metrics[Symbol.dispose]()
    },
  }
}

function instrumentFor(
  meter: Meter,
  { name, kind, help: description }: Metric,
): ObservableGauge | ObservableCounter {
  const seconds = /_seconds(?:_total)?$/.test(name)
  const options = seconds ? { description, unit: 's' } : { description }
  const dotted = dottedName(name)
  return kind === 'gauge'
    ? meter.createObservableGauge(dotted, options)
    : meter.createObservableCounter(dotted, options)
}

/**
 * `mersal_outbox_behind_seconds` is `mersal.outbox.behind`; exporters add the units again. Of
 * counters the unit stays in the name: there is one without it for the number.
 */
function dottedName(name: string): string {
  const [, first = '', second = '', rest = ''] =
    /^([^_]+)_([^_]+)_(.+?)(?:_seconds|_total)?$/.exec(name) ?? []
  return `${first}.${second}.${rest}`
}
