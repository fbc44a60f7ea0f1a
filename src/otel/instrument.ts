import { type MeterProvider, type TracerProvider, metrics, trace } from '@opentelemetry/api'
import { checkChoice, checkOptions, checkShape, invalidOption } from '../core/options.ts'
import { Mersal } from '../app/mersal.ts'
import { createDurations } from './durations.ts'
import { createGauges } from './gauges.ts'
import { together } from './listen.ts'
import { createSpans } from './spans.ts'

/** What is told of: an app, a relay, or documents. */
export interface Watched {
  readonly name: string
}

export interface InstrumentOptions {
  /**
   * `continue`: the handling of a message belongs to the trace of its sender. `link`: it begins a
   * trace of its own, linked to that of the sender. Default `continue`.
   */
  readonly consumers?: 'continue' | 'link'
  /** Makes the spans. Default: the global one. */
  readonly tracerProvider?: TracerProvider
  /** Makes the metrics. Default: the global one. */
  readonly meterProvider?: MeterProvider
}

const known = ['consumers', 'tracerProvider', 'meterProvider']

/**
 * Makes spans and metrics of what happens, in the words of the conventions of OpenTelemetry for
 * messaging, and carries the trace and the baggage along with each message. Call it once, before
 * messages are sent; disposing of the result ends it.
 *
 * `watched`: only these, by their names; of apps also gauges of their outbox, their queue and their
 * connections. Default: all that this process has, also relays, without gauges.
 *
 * Throws `MERSAL_INVALID_OPTIONS`.
 */
export function instrument(
  watched?: Watched | readonly Watched[],
  options: InstrumentOptions = {},
): Disposable {
  checkOptions('instrument()', options, known)
  const { consumers, tracerProvider, meterProvider } = options
  if (tracerProvider !== undefined)
    checkShape('instrument().tracerProvider', tracerProvider, ['getTracer'])
  if (meterProvider !== undefined)
    checkShape('instrument().meterProvider', meterProvider, ['getMeter'])
  const choices = ['continue', 'link'] as const
  const linked = checkChoice('instrument().consumers', consumers, choices, 'continue') === 'link'
  const all = watched === undefined ? undefined : listOf(watched)
  const isWatched = (app: string): boolean => all?.some(({ name }) => name === app) ?? true
  const tracer = (tracerProvider ?? trace).getTracer('mersal')
  const meter = (meterProvider ?? metrics).getMeter('mersal')
  const apps = (all ?? []).filter((one) => one instanceof Mersal)
  return together([
    createSpans({ tracer, isWatched, linked }),
    createDurations({ meter, isWatched }),
    ...apps.map((app) => createGauges(meter, app)),
  ])
}

function listOf(watched: Watched | readonly Watched[]): readonly Watched[] {
  const all = Array.isArray(watched) ? (watched as readonly Watched[]) : [watched as Watched]
  if (all.every((one: Partial<Watched> | null | undefined) => typeof one?.name === 'string'))
    return all
  throw invalidOption('instrument()', 'expected an app, or several, each with a name')
}
