import type { Attributes, Meter } from '@opentelemetry/api'
import type { OperationName, Operations } from '../core/traced.ts'
import { boundedNames, common, deliveryFailure, errorType } from './attributes.ts'
import { listen, together } from './listen.ts'

export interface DurationPorts {
  readonly meter: Meter
  readonly isWatched: (app: string) => boolean
}

/** Of the conventions for messaging, in seconds. */
const boundaries = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]

interface Instruments {
  readonly publish: (seconds: number, attributes: Attributes) => void
  readonly process: (seconds: number, attributes: Attributes) => void
  readonly others: (seconds: number, attributes: Attributes) => void
}

/** Counts and measures operations, until it is disposed of. */
export function createDurations({ meter, isWatched }: DurationPorts): Disposable {
  const { publish, process, others } = instruments(meter)
  const named = boundedNames()
  const classed = boundedNames()
  const listeners: Disposable[] = []
  const time = <Name extends OperationName>(
    name: Name,
    record: (seconds: number, facts: Operations[Name]) => void,
  ): void => {
    const end = (facts: Operations[Name], began: number): void =>
      record((performance.now() - began) / 1000, facts)
    listeners.push(listen(name, isWatched, { start: () => performance.now(), end }))
  }
  time('publish', (seconds, { system, message, error, outcome }) =>
    publish(seconds, {
      ...common(system, 'send', named(message.to.name)),
      ...(error === undefined ? {} : { 'error.type': classed(errorType(error, outcome)) }),
    }),
  )
  time('receive', (seconds, facts) => {
    const failure = deliveryFailure(facts)
    process(seconds, {
      ...common(facts.system, 'process', named(facts.queue)),
      'mersal.outcome': classed(facts.outcome ?? 'none'),
      ...(failure === undefined ? {} : { 'error.type': classed(failure) }),
    })
  })
  for (const name of ['save', 'claim', 'settle', 'handle'] as const)
    time(name, (seconds, { app, error }) =>
      others(seconds, {
        'mersal.operation': name,
        'mersal.app': app,
        ...(error === undefined ? {} : { 'error.type': classed(errorType(error)) }),
      }),
    )
  return together(listeners)
}

function instruments(meter: Meter): Instruments {
  const seconds = (name: string, description: string) =>
    meter.createHistogram(name, {
      description,
      unit: 's',
      advice: { explicitBucketBoundaries: boundaries },
    })
  const count = (name: string, description: string) =>
    meter.createCounter(name, { description, unit: '{message}' })
  const published = seconds(
    'messaging.client.operation.duration',
    'How long a broker took to answer to a message.',
  )
  const sent = count('messaging.client.sent.messages', 'Messages that were handed to a broker.')
  const processed = seconds('messaging.process.duration', 'How long a delivery was in hand.')
  const consumed = count('messaging.client.consumed.messages', 'Deliveries that were in hand.')
  const others = seconds('mersal.operation.duration', 'How long save, claim, settle, handle took.')
  return {
    publish(took, attributes) {
      published.record(took, attributes)
      sent.add(1, attributes)
    },
    process(took, attributes) {
      processed.record(took, attributes)
      consumed.add(1, attributes)
    },
    others: (took, attributes) => others.record(took, attributes),
  }
}
