/**
 * What telemetry costs: CPU time of a handler and of the message that it sends, in an app on the
 * memory store, without listeners, with listeners that do nothing, and with OpenTelemetry.
 *
 *   node scripts/measure-telemetry.ts [messages]
 */
import { tracingChannel } from 'node:diagnostics_channel'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { context, propagation } from '@opentelemetry/api'
import { W3CTraceContextPropagator } from '@opentelemetry/core'
import { BatchSpanProcessor, InMemorySpanExporter, TracerProvider } from '@opentelemetry/sdk-trace'
import { Mersal } from '../src/index.ts'
import { memoryStore, memoryTransport } from '../src/memory.ts'
import { instrument } from '../src/otel.ts'
import { chainOfHandlers } from './measuring-handlers.ts'

const messages = Number(process.argv[2] ?? 4000)
const rounds = 5

const app = new Mersal({
  name: 'measured',
  store: memoryStore(),
  transport: memoryTransport(),
  logger: false,
  receive: { concurrency: 50 },
})
const handleAll = chainOfHandlers(app, messages)
await app.start()

/** Microseconds of CPU time for each handler. */
async function pass(): Promise<number> {
  const began = process.cpuUsage()
  await handleAll()
  const { user, system } = process.cpuUsage(began)
  return (user + system) / (2 * messages)
}

function idleListeners(): Disposable {
  const nothing = (): void => {}
  const subscribers = {
    start: nothing,
    end: nothing,
    asyncStart: nothing,
    asyncEnd: nothing,
    error: nothing,
  }
  const all = ['send', 'save', 'claim', 'publish', 'settle', 'receive', 'handle'].map((name) =>
    tracingChannel<object>(`mersal:${name}`),
  )
  for (const channel of all) channel.subscribe(subscribers)
  return {
    [Symbol.dispose]() {
      for (const channel of all) channel.unsubscribe(subscribers)
    },
  }
}

context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
propagation.setGlobalPropagator(new W3CTraceContextPropagator())
const exporter = new InMemorySpanExporter()
const tracerProvider = new TracerProvider({
  spanProcessors: [new BatchSpanProcessor({ exporter, maxQueueSize: 1000 })],
})
const ways: Readonly<Record<string, () => Disposable>> = {
  'without listeners': () => ({ [Symbol.dispose]: () => {} }),
  'listeners that do nothing': idleListeners,
  'OpenTelemetry, all spans': () => instrument(undefined, { tracerProvider }),
}

await pass()
const found = new Map(Object.keys(ways).map((name) => [name, [] as number[]]))
for (let round = 0; round < rounds; round++) {
  for (const [name, begin] of Object.entries(ways)) {
    using _listening = begin()
    found.get(name)?.push(await pass())
    exporter.reset()
  }
}
for (const [name, values] of found) {
  const sorted = values.sort((a, b) => a - b)
  const median = sorted[rounds >> 1] ?? 0
  const all = sorted.map((value) => value.toFixed(1)).join(', ')
  process.stdout.write(`${name}: ${median.toFixed(1)} µs (${all})\n`)
}
await app.stop()
await tracerProvider.shutdown()
