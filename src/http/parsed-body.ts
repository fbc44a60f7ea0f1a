import { invalidOption } from '../core/options.ts'
import { type Facts, fingerprintBy, fingerprintOf, type RouteOptions, scopeOf } from './route.ts'

type Headers = Readonly<Record<string, string | readonly string[] | undefined>>

/**
 * A body that a framework has parsed, as text or bytes. Throws `MERSAL_INVALID_OPTIONS` if the
 * request has one that nobody has read: two requests could not be told apart.
 */
function parsedBody(body: unknown, headers: Headers): string | Uint8Array {
  if (body instanceof Uint8Array || typeof body === 'string') return body
  if (body !== undefined && body !== null) return JSON.stringify(body)
  const length = headers['content-length']
  const has = headers['transfer-encoding'] !== undefined || (length !== undefined && length !== '0')
  if (!has) return ''
  throw invalidOption(
    'idempotency()',
    'the request has a body that was not parsed, so that it cannot be compared: put a parser such as express.json() before the handler, or give fingerprint',
  )
}

/** The parts of a request that Express and Fastify have in common. */
interface ParsedRequest {
  readonly method: string
  readonly originalUrl: string
  readonly headers: Headers
  readonly body?: unknown
}

/** What is read of a request whose body a framework has parsed. */
export function factsOf<Request extends ParsedRequest>(
  request: Request,
  options: RouteOptions<Request>,
): Facts {
  const { method, originalUrl, headers } = request
  const preset = (): string => fingerprintOf(method, originalUrl, parsedBody(request.body, headers))
  return {
    keyHeader: headers['idempotency-key'],
    scope: scopeOf(options, request),
    fingerprint: () => fingerprintBy(options, request, preset),
  }
}
