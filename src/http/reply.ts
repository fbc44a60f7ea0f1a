import { isUtf8 } from 'node:buffer'
import { invalidOption } from '../core/options.ts'

/** An answer as it is kept, and sent again. */
export interface KeptReply {
  readonly status: number
  readonly headers: readonly (readonly [name: string, value: string])[]
  /** Bytes that are no UTF-8 are kept as base64. */
  readonly body: string
  readonly base64: boolean
}

/** An answer that is sent. */
export interface Reply {
  readonly status: number
  readonly headers: readonly (readonly [name: string, value: string])[]
  readonly body: Uint8Array
}

/** Headers that belong to one connection, or that the server computes again. */
const OF_THE_CONNECTION = new Set([
  'connection',
  'content-length',
  'date',
  'keep-alive',
  'transfer-encoding',
  'upgrade',
])

/** Reads a response of a handler. Throws `MERSAL_INVALID_OPTIONS` if it is none. */
export async function replyOf(given: Response): Promise<Reply> {
  if (typeof given?.arrayBuffer !== 'function' || typeof given.headers?.entries !== 'function')
    throw invalidOption('handler', 'expected it to return a Response, such as Response.json(body)')
  if (given.bodyUsed || given.body?.locked === true)
    throw invalidOption('handler', 'expected it to return a Response that nobody has read')
  if (given.status < 200 || given.status > 599)
    throw invalidOption('handler', `expected a status from 200 to 599, got ${given.status}`)
  const headers = [...given.headers.entries()].filter(([name]) => !OF_THE_CONNECTION.has(name))
  return { status: given.status, headers, body: new Uint8Array(await given.arrayBuffer()) }
}

/** What of the reply is kept. `keeps`: whether a header is, by its name in lower case. */
export function keptReply(
  { status, headers, body }: Reply,
  keeps: (name: string) => boolean,
): KeptReply {
  const base64 = !isUtf8(body)
  return {
    status,
    headers: headers.filter(([name]) => keeps(name)),
    body: Buffer.from(body).toString(base64 ? 'base64' : 'utf8'),
    base64,
  }
}

export function replayOf({ status, headers, body, base64 }: KeptReply): Reply {
  return { status, headers, body: Buffer.from(body, base64 ? 'base64' : 'utf8') }
}

/** Headers by name; one that comes several times, such as `set-cookie`, has several values. */
export function headersByName({ headers }: Reply): ReadonlyMap<string, string | string[]> {
  const found = new Map<string, string | string[]>()
  for (const [name, value] of headers) {
    const before = found.get(name)
    found.set(name, before === undefined ? value : [before, value].flat())
  }
  return found
}

const WITHOUT_BODY = new Set([204, 205, 304])

/** As a response of the web. */
export function toResponse({ status, headers, body }: Reply): Response {
  const given = headers.map(([name, value]): [string, string] => [name, value])
  const bytes = WITHOUT_BODY.has(status) ? null : Buffer.from(body)
  return new Response(bytes, { status, headers: given })
}
