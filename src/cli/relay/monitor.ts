import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { type Listening, listenAt, type ListenPlace } from '../listen.ts'

export interface Readiness {
  readonly ready: boolean
  /** `ready`, or why not; one line or several. */
  readonly text: string
}

/** Answers for the three paths. */
export interface MonitorParts {
  /** Of one store, or of the whole process; undefined: there is no such store. */
  readonly readiness: (store: string | undefined) => Readiness | undefined
  readonly metrics: () => Promise<string>
}

/** Serves /healthz, /readyz and /metrics. */
export async function openMonitor(parts: MonitorParts, place: ListenPlace): Promise<Listening> {
  const server = createServer((request, response) => void answer(parts, request, response))
  server.requestTimeout = 10_000
  server.headersTimeout = 10_000
  return await listenAt(server, place)
}

function send(response: ServerResponse, status: number, type: string, text: string): void {
  response.writeHead(status, {
    'content-type': type,
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  })
  response.end(text)
}

async function answer(
  { readiness, metrics }: MonitorParts,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const plain = 'text/plain; charset=utf-8'
  if (request.method !== 'GET' && request.method !== 'HEAD')
    return send(response, 405, plain, 'only GET\n')
  const [path, query] = (request.url ?? '').split('?', 2)
  if (path === '/healthz') return send(response, 200, plain, 'alive\n')
  if (path === '/readyz') {
    const found = readiness(new URLSearchParams(query).get('store') ?? undefined)
    if (found === undefined) return send(response, 404, plain, 'there is no such store\n')
    return send(response, found.ready ? 200 : 503, plain, `${found.text}\n`)
  }
  if (path !== '/metrics')
    return send(response, 404, plain, 'there are /healthz, /readyz and /metrics\n')
  try {
    send(response, 200, 'text/plain; version=0.0.4; charset=utf-8', await metrics())
  } catch {
    // What the database said is in the log of the relay; it is nothing for whoever asks here.
    send(response, 500, plain, 'the metrics cannot be read now\n')
  }
}
