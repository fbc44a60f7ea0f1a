import type { UnitSender } from '../app/types.ts'
import { factsOf } from './parsed-body.ts'
import { headersByName } from './reply.ts'
import { checkRoute, type RouteOptions, type Serve } from './route.ts'

/** The part of a request of Fastify that is read. */
export interface FastifyRequestPart {
  readonly method: string
  readonly originalUrl: string
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body?: unknown
}

/** The part of a reply of Fastify that is written. */
export interface FastifyReplyPart {
  code(status: number): unknown
  header(name: string, value: string | string[]): unknown
  send(body?: Uint8Array): unknown
}

/** Makes a handler for Fastify from one that returns a `Response`. */
export type FastifyRoute<Tx> = <Request extends FastifyRequestPart>(
  handler: (request: Request, tx: Tx, sender: UnitSender) => Response | Promise<Response>,
  options?: RouteOptions<Request>,
) => (request: Request, reply: FastifyReplyPart) => Promise<unknown>

export function fastifyRoute<Tx>(serve: Serve<Tx>): FastifyRoute<Tx> {
  return (handler, given) => {
    const options = checkRoute('fastify', handler, given)
    return async (request, out) => {
      const facts = factsOf(request, options)
      const reply = await serve(facts, async (tx, sender) => handler(request, tx, sender))
      out.code(reply.status)
      for (const [name, value] of headersByName(reply)) out.header(name, value)
      out.send(reply.body.length === 0 ? undefined : reply.body)
      return out
    }
  }
}
