import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'

type Value = {
  readonly stringValue?: string
  readonly intValue?: number | string
  readonly boolValue?: boolean
}
type Attribute = { readonly key: string; readonly value: Value }

/** A span as OTLP has it; times left out. */
export interface ReceivedSpan {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly name: string
  readonly kind: number
  readonly attributes: Readonly<Record<string, string | number | boolean | undefined>>
  readonly links: readonly { readonly traceId: string; readonly spanId: string }[]
  readonly events: readonly { readonly name: string; readonly attributes: readonly Attribute[] }[]
  readonly status: { readonly code?: number; readonly message?: string }
}

export interface ReceivedMetric {
  readonly name: string
  readonly unit?: string
  readonly points: readonly {
    readonly attributes: ReceivedSpan['attributes']
    /** Of a histogram: how often something was measured. */
    readonly value: number
  }[]
}

/** Takes what an exporter sends over OTLP/HTTP as JSON, on a port of this machine. */
export interface Collector extends AsyncDisposable {
  readonly url: string
  readonly spans: readonly ReceivedSpan[]
  /** As they came last. */
  readonly metrics: ReadonlyMap<string, ReceivedMetric>
  /** Everything that came, as text. */
  readonly text: string
}

export async function openCollector(): Promise<Collector> {
  const spans: ReceivedSpan[] = []
  const metrics = new Map<string, ReceivedMetric>()
  let text = ''
  const server = createServer((request, response) => {
    void bodyOf(request).then((body) => {
      text += body
      const found = JSON.parse(body) as Payload
      spans.push(...spansOf(found))
      for (const metric of metricsOf(found)) metrics.set(metric.name, metric)
      response.writeHead(200, { 'content-type': 'application/json' }).end('{}')
    })
  })
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    spans,
    metrics,
    get text() {
      return text
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

interface Payload {
  readonly resourceSpans?: readonly {
    readonly scopeSpans: readonly { readonly spans: readonly RawSpan[] }[]
  }[]
  readonly resourceMetrics?: readonly {
    readonly scopeMetrics: readonly { readonly metrics: readonly RawMetric[] }[]
  }[]
}

type RawSpan = Omit<ReceivedSpan, 'attributes' | 'links' | 'events' | 'status'> & {
  readonly attributes: readonly Attribute[]
  readonly links?: ReceivedSpan['links']
  readonly events?: ReceivedSpan['events']
  readonly status?: ReceivedSpan['status']
}

interface RawPoint {
  readonly attributes?: readonly Attribute[]
  readonly asInt?: number | string
  readonly asDouble?: number
  readonly count?: number | string
}

type Points = { readonly dataPoints: readonly RawPoint[] }

interface RawMetric {
  readonly name: string
  readonly unit?: string
  readonly sum?: Points
  readonly gauge?: Points
  readonly histogram?: Points
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const parts: Buffer[] = []
  for await (const part of request) parts.push(part as Buffer)
  return Buffer.concat(parts).toString('utf8')
}

function spansOf({ resourceSpans = [] }: Payload): readonly ReceivedSpan[] {
  return resourceSpans
    .flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }) => spans))
    .map((span) => ({
      ...span,
      attributes: attributesOf(span.attributes),
      links: span.links ?? [],
      events: span.events ?? [],
      status: span.status ?? {},
    }))
}

function metricsOf({ resourceMetrics = [] }: Payload): readonly ReceivedMetric[] {
  return resourceMetrics
    .flatMap(({ scopeMetrics }) => scopeMetrics.flatMap(({ metrics }) => metrics))
    .map(({ name, unit, sum, gauge, histogram }) => ({
      name,
      ...(unit === undefined ? {} : { unit }),
      points: (sum ?? gauge ?? histogram ?? { dataPoints: [] }).dataPoints.map((point) => ({
        attributes: attributesOf(point.attributes ?? []),
        value: Number(point.count ?? point.asInt ?? point.asDouble),
      })),
    }))
}

function attributesOf(given: readonly Attribute[]): ReceivedSpan['attributes'] {
  return Object.fromEntries(
    given.map(({ key, value: { stringValue, intValue, boolValue } }) => [
      key,
      stringValue ?? boolValue ?? (intValue === undefined ? undefined : Number(intValue)),
    ]),
  )
}
