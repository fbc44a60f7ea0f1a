import { setImmediate as turn } from 'node:timers/promises'
import {
  type Meter,
  context,
  diag,
  metrics,
  propagation,
  ROOT_CONTEXT,
  SpanKind,
  trace,
} from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import {
  CompositePropagator,
  W3CBaggagePropagator,
  W3CTraceContextPropagator,
} from '@opentelemetry/core'
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-http'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http'
import { MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics'
import { SimpleSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type HandlerContext, Mersal, command, event } from '../../src/index.ts'
import { memoryDatabase, memoryNetwork, memoryStore } from '../../src/memory.ts'
import type { MemoryTransaction } from '../../src/memory.ts'
import { instrument } from '../../src/otel.ts'
import { ended, listenTo } from '../unit/support/operations.ts'
import { type Collector, openCollector, type ReceivedSpan } from './collector.ts'

const Register = command<{ name: string }>('students.register')
const Registered = event<{ name: string }>('students.registered')

let collector: Collector
let tracing: TracerProvider
let metering: MeterProvider

beforeAll(() => {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
  propagation.setGlobalPropagator(
    new CompositePropagator({
      propagators: [new W3CTraceContextPropagator(), new W3CBaggagePropagator()],
    }),
  )
})
beforeEach(async () => {
  collector = await openCollector()
  tracing = new TracerProvider({
    spanProcessors: [
      new SimpleSpanProcessor({
        exporter: new OTLPTraceExporter({ url: `${collector.url}/v1/traces` }),
      }),
    ],
  })
  metering = new MeterProvider({
    readers: [
      new PeriodicExportingMetricReader({
        exporter: new OTLPMetricExporter({ url: `${collector.url}/v1/metrics` }),
        exportIntervalMillis: 3_600_000,
        exportTimeoutMillis: 10_000,
      }),
    ],
  })
  trace.setGlobalTracerProvider(tracing)
  metrics.setGlobalMeterProvider(metering)
})
afterEach(async () => {
  await tracing.shutdown()
  await metering.shutdown()
  trace.disable()
  metrics.disable()
  await collector[Symbol.asyncDispose]()
})
afterAll(() => {
  context.disable()
  propagation.disable()
})

type Handle = (
  body: { readonly name: string },
  context: HandlerContext<MemoryTransaction>,
) => unknown

/** Two services with a database each, and a broker between them. */
async function services(bill: Handle = () => {}) {
  const network = memoryNetwork()
  const make = (name: string) =>
    new Mersal({
      name,
      store: memoryStore({ database: memoryDatabase() }),
      transport: network.transport(),
      routes: { 'students.register': 'registrar' },
      logger: false,
      receive: { immediateRetries: 1, maxDeliveries: 1 },
    })
  const registrar = make('registrar')
  const finance = make('finance')
  registrar.handle(Register, async ({ name }, { publish }) => {
    await publish(Registered, { name }, { partitionKey: name })
  })
  finance.handle(Registered, async (body, handling) => void (await bill(body, handling)))
  await Promise.all([registrar.start(), finance.start()])
  return {
    registrar,
    finance,
    network,
    async [Symbol.asyncDispose]() {
      await Promise.all([registrar.stop(), finance.stop()])
    },
  }
}

/** Until finance has had its delivery, and all that the other has published is settled. */
async function handled(work: () => Promise<unknown>): Promise<void> {
  using deliveries = listenTo('receive', 'finance')
  using publishes = listenTo('publish', 'registrar')
  using settlements = listenTo('settle', 'registrar')
  await work()
  while (ended(deliveries.told).length === 0) await turn()
  const settled = (): number =>
    ended(settlements.told).reduce((sum, { messages }) => sum + messages, 0)
  while (settled() < ended(publishes.told).length) await turn()
  await tracing.forceFlush()
}

/** One request that registers a student, inside the span of its HTTP server. */
async function request({ registrar }: Awaited<ReturnType<typeof services>>) {
  const entries = { tenant: { value: 'acme' } }
  const baggage = propagation.setBaggage(ROOT_CONTEXT, propagation.createBaggage(entries))
  const kind = SpanKind.SERVER
  const span = trace.getTracer('http').startSpan('POST /students', { kind }, baggage)
  await handled(async () => {
    await context.with(trace.setSpan(baggage, span), () =>
      registrar.transaction((_, { send }) => send(Register, { name: 'Ada' })),
    )
    span.end()
    await turn()
  })
}

/** The spans of a trace, each below its parent, in the order in which they began. */
function picture(spans: readonly ReceivedSpan[]): string {
  const line = (span: ReceivedSpan, depth: number): string[] => [
    `${'  '.repeat(depth)}${span.name} (${SpanKind[span.kind - 1]})`,
    ...spans
      .filter((one) => one.parentSpanId === span.spanId)
      .flatMap((one) => line(one, depth + 1)),
  ]
  const roots = spans.filter(
    ({ parentSpanId }) => !spans.some(({ spanId }) => spanId === parentSpanId),
  )
  return roots.flatMap((root) => line(root, 0)).join('\n')
}

const named = (name: string): ReceivedSpan => {
  const found = collector.spans.find((span) => span.name === name)
  if (found === undefined) throw new Error(`no span '${name}' in ${picture(collector.spans)}`)
  return found
}

describe('a request that becomes two messages', () => {
  test('is one trace, from the HTTP server to the handler in the second service', async () => {
    const seen: (string | undefined)[] = []
    await using all = await services((_, { message }) => {
      const baggage = propagation.getActiveBaggage()?.getEntry('tenant')?.value
      seen.push(baggage, message.headers['baggage'], trace.getActiveSpan()?.spanContext().spanId)
    })
    using _watching = instrument([all.registrar, all.finance])
    await request(all)
    expect(new Set(collector.spans.map(({ traceId }) => traceId)).size).toBe(1)
    expect(picture(collector.spans)).toBe(
      [
        'POST /students (SERVER)',
        '  create registrar (PRODUCER)',
        '    send registrar (CLIENT)',
        '    process registrar (CONSUMER)',
        '      handle students.register (INTERNAL)',
        '        create students.registered (PRODUCER)',
        '          send students.registered (CLIENT)',
        '          process finance (CONSUMER)',
        '            handle students.registered (INTERNAL)',
      ].join('\n'),
    )
    expect(seen).toEqual(['acme', 'tenant=acme', named('handle students.registered').spanId])
  })

  test('says in each span what the conventions for messaging want', async () => {
    await using all = await services()
    using _watching = instrument()
    await request(all)
    const id = named('create registrar').attributes['messaging.message.id']
    const message = {
      'messaging.system': 'memory',
      'messaging.message.id': id,
      'messaging.message.conversation_id': id,
      'messaging.message.body.size': 14,
      'messaging.destination.name': 'registrar',
      'mersal.message.type': 'students.register',
      'mersal.app': 'registrar',
    }
    for (const [operation, more] of [
      ['create', { 'mersal.transactional': true }],
      ['send', { 'mersal.published.by': 'relay', 'mersal.outcome': 'confirmed' }],
      ['process', { 'mersal.delivery': 1, 'mersal.outcome': 'handled' }],
    ] as const)
      expect(named(`${operation} registrar`).attributes).toEqual({
        ...message,
        'messaging.operation.name': operation,
        'messaging.operation.type': operation,
        ...more,
      })
    const { spanId, traceId } = named('create registrar')
    expect(named('send registrar').links).toMatchObject([{ spanId, traceId }])
  })

  test('is a trace for each handling, linked to its sender, if that is wanted', async () => {
    await using all = await services()
    using _watching = instrument([all.registrar, all.finance], { consumers: 'link' })
    await request(all)
    expect(new Set(collector.spans.map(({ traceId }) => traceId)).size).toBe(3)
    const created = named('create students.registered')
    const handled = named('process finance')
    expect(handled.parentSpanId).toBeFalsy()
    expect(handled.links).toMatchObject([{ spanId: created.spanId, traceId: created.traceId }])
  })

  test('is counted and measured', async () => {
    await using all = await services()
    using _watching = instrument([all.registrar, all.finance])
    await request(all)
    await metering.forceFlush()
    const points = (name: string) => collector.metrics.get(name)?.points ?? []
    for (const name of ['messaging.client.operation.duration', 'messaging.client.sent.messages'])
      expect(points(name)).toMatchObject([
        { value: 1, attributes: { 'messaging.destination.name': 'registrar' } },
        { value: 1, attributes: { 'messaging.destination.name': 'students.registered' } },
      ])
    for (const name of ['messaging.process.duration', 'messaging.client.consumed.messages'])
      expect(points(name)).toMatchObject([
        { value: 1, attributes: { 'mersal.outcome': 'handled' } },
        { value: 1, attributes: { 'mersal.outcome': 'handled' } },
      ])
    expect(collector.metrics.get('messaging.process.duration')?.unit).toBe('s')
    const operations = points('mersal.operation.duration').map(
      ({ attributes }) => attributes['mersal.operation'],
    )
    expect(new Set(operations)).toEqual(new Set(['save', 'claim', 'settle', 'handle']))
    for (const name of ['mersal.outbox.behind', 'mersal.queue.dead', 'mersal.app.ready'])
      expect([name, points(name).length]).toEqual([name, 2])
    expect(collector.metrics.get('mersal.outbox.behind')?.unit).toBe('s')
    expect(points('mersal.relay.published')).toMatchObject([
      { value: 1, attributes: { app: 'registrar', outcome: 'confirmed' } },
      { value: 1, attributes: { app: 'registrar', outcome: 'confirmed' } },
    ])
  })
})

test('P14: a handler that fails shows its error in each try, without its secrets or the body', async () => {
  const password = 'geheim-7'
  await using all = await services(({ name }) => {
    throw new Error(`no route to postgres://app:${password}@db/${name}`)
  })
  using _watching = instrument([all.registrar, all.finance])
  await request(all)
  const tries = collector.spans.filter(({ name }) => name === 'handle students.registered')
  expect(tries.map(({ attributes }) => attributes['mersal.attempt'])).toEqual([1, 2])
  for (const { status, events } of tries) {
    expect(status).toMatchObject({ code: 2 })
    expect(status.message).toContain('no route to')
    expect(events.map(({ name }) => name)).toEqual(['exception'])
  }
  const delivery = named('process finance')
  expect(delivery.status.code).toBe(2)
  expect(delivery.attributes).toMatchObject({
    'mersal.outcome': 'handler-failed',
    'error.type': 'MERSAL_HANDLER_FAILED',
  })
  expect(collector.text).not.toContain(password)
  expect(collector.text).not.toContain('"name":"Ada"')
})

test('a message without a trace begins one, and whatever began the app is no part of it', async () => {
  const start = trace.getTracer('test').startSpan('start of the process')
  const within = trace.setSpan(ROOT_CONTEXT, start)
  await using all = await context.with(within, () => services())
  using _watching = instrument(all.finance)
  const name = new TextEncoder().encode('{"name":"Ada"}')
  const to = { transport: 'default', kind: 'topic', name: 'students.registered' } as const
  const foreign = { id: crypto.randomUUID(), type: 'students.registered', headers: {}, to }
  await handled(async () => {
    const [answer] = all.network.transport().publish([{ ...foreign, body: name }])
    expect(await answer).toEqual({ kind: 'confirmed' })
  })
  expect(picture(collector.spans)).toBe(
    'process finance (CONSUMER)\n  handle students.registered (INTERNAL)',
  )
  expect(collector.spans[0]?.traceId).not.toBe(start.spanContext().traceId)
})

test('only what is watched is told of, and nothing after the end', async () => {
  await using all = await services()
  {
    using _watching = instrument(all.finance)
    await request(all)
  }
  const apps = new Set(collector.spans.map(({ attributes }) => attributes['mersal.app']))
  expect(apps).toEqual(new Set(['finance', undefined]))
  const { length } = collector.spans
  await request(all)
  expect(collector.spans.slice(length).map(({ name }) => name)).toEqual(['POST /students'])
})

test('what the SDK throws fails nothing and ends no process; it goes to its diagnostics', async () => {
  const found: unknown[] = []
  const error = (_: string, thrown: unknown): void => void found.push(thrown)
  const nothing = (): void => {}
  diag.setLogger({ error, warn: nothing, info: nothing, debug: nothing, verbose: nothing })
  const broken = new Error('no memory for spans')
  const fail = (): never => {
    throw broken
  }
  const settled = (): Promise<void> => Promise.resolve()
  const processor = { onStart: nothing, onEnd: fail, forceFlush: settled, shutdown: settled }
  const tracerProvider = new TracerProvider({ spanProcessors: [processor] })
  await using all = await services()
  using _watching = instrument(undefined, { tracerProvider })
  await request(all)
  diag.disable()
  expect(found.length).toBeGreaterThanOrEqual(6)
  expect(new Set(found)).toEqual(new Set([broken]))
})

test('a span that has begun ends, also after the end of watching', async () => {
  const handling = Promise.withResolvers<void>()
  const begun = Promise.withResolvers<void>()
  await using all = await services(async () => {
    begun.resolve()
    await handling.promise
  })
  const watching = instrument(all.finance)
  const handle = request(all)
  await begun.promise
  watching[Symbol.dispose]()
  handling.resolve()
  await handle
  expect(named('process finance').attributes['mersal.outcome']).toBe('handled')
  expect(named('handle students.registered')).toBeDefined()
})

test('no two metrics of an app have one name', async () => {
  await using all = await services()
  const names: string[] = []
  const meter = metering.getMeter('names')
  const note = (name: string) => {
    names.push(name)
    return meter.createObservableGauge(name)
  }
  const noting = Object.assign(Object.create(meter) as Meter, {
    createObservableGauge: note,
    createObservableCounter: note,
  })
  using _watching = instrument(all.finance, { meterProvider: { getMeter: () => noting } })
  expect(names.length).toBeGreaterThan(20)
  expect(names.filter((name, index) => names.indexOf(name) !== index)).toEqual([])
})

test.each([
  [[null], undefined, 'instrument()'],
  [[{}], undefined, 'instrument()'],
  [undefined, { consumer: 'link' }, 'instrument().consumer'],
  [undefined, { consumers: 'both' }, 'instrument().consumers'],
  [undefined, { tracerProvider: {} }, 'instrument().tracerProvider'],
  [undefined, { meterProvider: 1 }, 'instrument().meterProvider'],
])('instrument(%o, %o) is refused, and the error names %s', (watched, options, field) => {
  expect(() => instrument(watched as never, options as never)).toThrowError(
    expect.objectContaining({
      code: 'MERSAL_INVALID_OPTIONS',
      message: expect.stringContaining(field),
    }),
  )
})
