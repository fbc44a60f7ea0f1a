import type { UnitSender } from '../app/types.ts'
import { toResponse } from './reply.ts'
import { fingerprintOf, type RouteOptions, type Serve } from './route.ts'

/** The part of a context of Hono that is read. */
export interface HonoContext {
  readonly req: {
    readonly method: string
    readonly url: string
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
  return (handler, { scope, fingerprint } = {}) =>
    async (context) => {
      const { req } = context
      const facts = {
        keyHeader: req.header('idempotency-key'),
        scope: scope?.(context),
        // Hono keeps the body, so that the handler can read it again.
        fingerprint: async () =>
          fingerprint === undefined
            ? fingerprintOf(req.method, pathOf(req.url), new Uint8Array(await req.arrayBuffer()))
            : fingerprint(context),
      }
      return toResponse(await serve(facts, async (tx, sender) => handler(context, tx, sender)))
    }
}

export function fetchRoute<Tx>(serve: Serve<Tx>): FetchRoute<Tx> {
  return (handler, { scope, fingerprint } = {}) =>
    async (request) => {
      const facts = {
        keyHeader: request.headers.get('idempotency-key'),
        scope: scope?.(request),
        fingerprint: async () =>
          fingerprint === undefined
            ? fingerprintOf(request.method, pathOf(request.url), await bodyOf(request))
            : fingerprint(request),
      }
      return toResponse(await serve(facts, async (tx, sender) => handler(request, tx, sender)))
    }
}

/** Read from a copy, so that the handler can read it again. */
const bodyOf = async (request: Request): Promise<Uint8Array> =>
  new Uint8Array(await request.clone().arrayBuffer())

function pathOf(url: string): string {
  const { pathname, search } = new URL(url)
  return `${pathname}${search}`
}
