import type { UnitSender } from '../app/types.ts'
import { MersalError } from '../core/errors/errors.ts'
import { toResponse } from './reply.ts'
import {
  checkRoute,
  fingerprintBy,
  fingerprintOf,
  type RouteOptions,
  scopeOf,
  type Serve,
} from './route.ts'

/** The part of a context of Hono that is read. */
export interface HonoContext {
  readonly req: {
    readonly method: string
    readonly url: string
    readonly raw?: { readonly bodyUsed: boolean }
    header(name: string): string | undefined
    arrayBuffer(): Promise<ArrayBuffer>
  }
}

/** Makes a handler for Hono from one that returns a `Response`, such as `context.json(body)`. */
export type HonoRoute<Tx> = <Context extends HonoContext>(
  handler: (context: Context, tx: Tx, sender: UnitSender) => Response | Promise<Response>,
  options?: RouteOptions<Context>,
) => (context: Context) => Promise<Response>

/** Makes a handler of web requests from one that returns a `Response`. */
export type FetchRoute<Tx> = (
  handler: (request: Request, tx: Tx, sender: UnitSender) => Response | Promise<Response>,
  options?: RouteOptions<Request>,
) => (request: Request) => Promise<Response>

export function honoRoute<Tx>(serve: Serve<Tx>): HonoRoute<Tx> {
  return (handler, given) => {
    const options = checkRoute('hono', handler, given)
    return async (context) => {
      const { req } = context
      // Hono keeps the body, so that the handler can read it again.
      const preset = async (): Promise<string> =>
        fingerprintOf(req.method, pathOf(req.url), await bodyOf(req.raw, () => req.arrayBuffer()))
      const facts = {
        keyHeader: req.header('idempotency-key'),
        scope: scopeOf(options, context),
        fingerprint: () => fingerprintBy(options, context, preset),
      }
      return toResponse(await serve(facts, async (tx, sender) => handler(context, tx, sender)))
    }
  }
}

export function fetchRoute<Tx>(serve: Serve<Tx>): FetchRoute<Tx> {
  return (handler, given) => {
    const options = checkRoute('fetch', handler, given)
    return async (request) => {
      // Read from a copy, so that the handler can read it again.
      const copy = (): Promise<ArrayBuffer> => request.clone().arrayBuffer()
      const preset = async (): Promise<string> =>
        fingerprintOf(request.method, pathOf(request.url), await bodyOf(request, copy))
      const facts = {
        keyHeader: request.headers.get('idempotency-key'),
        scope: scopeOf(options, request),
        fingerprint: () => fingerprintBy(options, request, preset),
      }
      return toResponse(await serve(facts, async (tx, sender) => handler(request, tx, sender)))
    }
  }
}

/** Throws `MERSAL_INVALID_OPTIONS` if somebody has read the body before. */
async function bodyOf(
  request: { readonly bodyUsed?: boolean } | undefined,
  read: () => Promise<ArrayBuffer>,
): Promise<Uint8Array> {
  const wasRead = request?.bodyUsed === true
  try {
    return new Uint8Array(await read())
  } catch (cause) {
    if (!wasRead) throw cause
    const text =
      'idempotency(): the body of the request was read before, so that it cannot be compared: let the handler read it, or give fingerprint'
    throw new MersalError('MERSAL_INVALID_OPTIONS', text, { cause })
  }
}

function pathOf(url: string): string {
  const { pathname, search } = new URL(url)
  return `${pathname}${search}`
}
