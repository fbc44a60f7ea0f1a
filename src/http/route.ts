import { createHash } from 'node:crypto'
import type { UnitSender } from '../app/types.ts'
import { MersalError } from '../core/errors/errors.ts'
import { checkOptions, invalidOption } from '../core/options.ts'
import { kindOfAnswer } from '../lib/async/late-answer.ts'
import type { Reply } from './reply.ts'

/** Options of one route. */
export interface RouteOptions<Request> {
  /**
   * Whose keys these are, such as the user who is logged in: 1 to 255 bytes. Anything else fails
   * the request. Default: one scope for all clients.
   */
  readonly scope?: (request: Request) => string
  /**
   * What the request asks for. Default: method, path with query, and body. Needed where the body is
   * read by the handler itself.
   */
  readonly fingerprint?: (request: Request) => string | Uint8Array | Promise<string | Uint8Array>
}

/** What is read of a request, whatever the framework. */
export interface Facts {
  readonly keyHeader: string | readonly string[] | null | undefined
  readonly scope: string | undefined
  readonly fingerprint: () => Promise<string | Uint8Array>
}

export type Serve<Tx> = (
  request: Facts,
  work: (tx: Tx, sender: UnitSender) => Response | Promise<Response>,
) => Promise<Reply>

/** The options of a route. Throws `MERSAL_INVALID_OPTIONS`, as soon as the route is made. */
export function checkRoute<Request>(
  framework: string,
  handler: unknown,
  options: RouteOptions<Request> = {},
): RouteOptions<Request> {
  const call = `idempotency().${framework}()`
  if (typeof handler !== 'function')
    throw invalidOption(`${call}.handler`, 'expected a function that returns a Response')
  checkOptions(call, options, ['scope', 'fingerprint'])
  for (const [name, given] of Object.entries(options))
    if (given !== undefined && typeof given !== 'function')
      throw invalidOption(`${call}.${name}`, 'expected a function of the request')
  return options
}

/**
 * Whose key it is. Throws `MERSAL_ONCE_KEY` for what is no text: without a scope the key would
 * belong to all clients.
 */
export function scopeOf<Request>(
  { scope }: RouteOptions<Request>,
  request: Request,
): string | undefined {
  if (scope === undefined) return undefined
  const given: unknown = scope(request)
  if (typeof given === 'string') return given
  const text = `once().scope: expected text, and scope() returned ${kindOfAnswer(given)}`
  throw new MersalError('MERSAL_ONCE_KEY', text, { details: { field: 'once().scope' } })
}

/** What the request asks for. Throws `MERSAL_INVALID_OPTIONS` if `fingerprint` gives nothing. */
export async function fingerprintBy<Request>(
  { fingerprint }: RouteOptions<Request>,
  request: Request,
  preset: () => string | Promise<string>,
): Promise<string | Uint8Array> {
  if (fingerprint === undefined) return preset()
  const given: unknown = await fingerprint(request)
  if (typeof given === 'string' || given instanceof Uint8Array) return given
  const text = `expected text or bytes, and it returned ${kindOfAnswer(given)}`
  throw invalidOption('idempotency().fingerprint', text)
}

/** Method, path and body as one text. */
export function fingerprintOf(method: string, path: string, body: string | Uint8Array): string {
  return createHash('sha256').update(`${method} ${path}\n`).update(body).digest('hex')
}
