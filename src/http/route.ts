import { createHash } from 'node:crypto'
import type { UnitSender } from '../app/types.ts'
import type { Reply } from './reply.ts'

/** Options of one route. */
export interface RouteOptions<Request> {
  /**
   * Whose keys these are, such as the user who is logged in: 1 to 255 bytes. Default: one scope for
   * all clients.
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
  readonly fingerprint: () => string | Uint8Array | Promise<string | Uint8Array>
}

export type Serve<Tx> = (
  request: Facts,
  work: (tx: Tx, sender: UnitSender) => Response | Promise<Response>,
) => Promise<Reply>

/** Method, path and body as one text. */
export function fingerprintOf(method: string, path: string, body: string | Uint8Array): string {
  return createHash('sha256').update(`${method} ${path}\n`).update(body).digest('hex')
}
