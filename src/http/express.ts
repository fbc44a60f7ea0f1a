import type { UnitSender } from '../app/types.ts'
import { factsOf } from './parsed-body.ts'
import { headersByName } from './reply.ts'
import { checkRoute, type RouteOptions, type Serve } from './route.ts'

/** The part of a request of Express that is read. */
export interface ExpressRequest {
  readonly method: string
  readonly originalUrl: string
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body?: unknown
}

/** The part of a response of Express that is written. */
export interface ExpressResponse {
  statusCode: number
  setHeader(name: string, value: string | string[]): unknown
  end(body: Uint8Array): unknown
}

/** Makes a handler for Express from one that returns a `Response`. */
export type ExpressRoute<Tx> = <Request extends ExpressRequest>(
  handler: (request: Request, tx: Tx, sender: UnitSender) => Response | Promise<Response>,
  options?: RouteOptions<Request>,
) => (request: Request, response: ExpressResponse, next: (error: unknown) => void) => Promise<void>

export function expressRoute<Tx>(serve: Serve<Tx>): ExpressRoute<Tx> {
  return (handler, given) => {
    const options = checkRoute('express', handler, given)
    return async (request, response, next) => {
      try {
        const facts = factsOf(request, options)
        const reply = await serve(facts, async (tx, sender) => handler(request, tx, sender))
        response.statusCode = reply.status
        for (const [name, value] of headersByName(reply)) response.setHeader(name, value)
        response.end(reply.body)
      } catch (error) {
        next(error)
      }
    }
  }
}
