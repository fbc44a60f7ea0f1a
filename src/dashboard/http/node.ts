import type { Socket } from 'node:net'
import { problem, WrongMethod } from './problem.ts'

/** The part of a request of `node:http` that is read. Express adds the two last fields. */
export interface NodeAsk extends AsyncIterable<unknown> {
  readonly method?: string | undefined
  readonly url?: string | undefined
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly originalUrl?: string
  readonly body?: unknown
}

/** The part of a response of `node:http` that is written. */
export interface NodeAnswer {
  statusCode: number
  readonly headersSent?: boolean
  readonly destroyed?: boolean
  /** The connection; that of `node:http` knows the server that has accepted it. */
  readonly socket?: object | null
  setHeader(name: string, value: string): unknown
  write(bytes: Uint8Array): boolean
  end(): unknown
  once(event: 'drain' | 'close', listener: () => void): unknown
  off(event: 'drain' | 'close', listener: () => void): unknown
}

/** The path that a framework has taken off, as Express does for `use('/admin', …)`. */
export function mountedAt({ url = '/', originalUrl = url }: NodeAsk): string {
  const [whole = ''] = originalUrl.split('?', 1)
  const [rest = ''] = url.split('?', 1)
  if (whole === rest) return ''
  if (whole.endsWith(rest)) return whole.slice(0, -rest.length)
  return rest === '/' ? whole : ''
}

/**
 * As a request of the web. Throws a problem if it is none. `given`: its body, if it was read. Else it
 * is read by whoever reads that of the request, so not before somebody may come in.
 */
export function toRequest(ask: NodeAsk, given: unknown): Request {
  const { method = 'GET', headers, url = '/', originalUrl = url } = ask
  const host = typeof headers['host'] === 'string' ? headers['host'] : ''
  const address = `http://${host}${originalUrl}`
  if (!/^[\w.:[\]-]+$/.test(host) || !originalUrl.startsWith('/') || !URL.canParse(address))
    throw problem(400, 'bad-request', 'The request has no proper address.')
  // A request of the web cannot have these.
  if (/^(?:trace|track|connect)$/i.test(method)) throw new WrongMethod(['GET', 'HEAD', 'POST'])
  const pairs = Object.entries(headers).flatMap(([name, value]): [string, string][] =>
    value === undefined || name.startsWith(':')
      ? []
      : [value].flat().map((one): [string, string] => [name, one]),
  )
  if (method === 'GET' || method === 'HEAD') return new Request(address, { method, headers: pairs })
  if (given !== undefined)
    return new Request(address, { method, headers: pairs, body: JSON.stringify(given) })
  const body = ReadableStream.from(ask) as ReadableStream<Uint8Array>
  return new Request(address, { method, headers: pairs, body, duplex: 'half' })
}

/**
 * Writes the response, no faster than it is read. One that goes on while its server closes ends
 * after its next part, and its connection with it, since `server.close()` waits for both.
 */
export async function writeResponse(found: Response, answer: NodeAnswer): Promise<void> {
  // Somebody did not wait for it, such as a limit of time of the framework.
  if (answer.headersSent === true) return
  answer.statusCode = found.status
  for (const [name, value] of found.headers) answer.setHeader(name, value)
  const reader = found.body?.getReader()
  if (reader === undefined) return void answer.end()
  let gone = false
  const leave = (): void => {
    gone = true
    void reader.cancel().catch(() => {})
  }
  answer.once('close', leave)
  // Whoever left while the answer was made closes nothing any more.
  if (answer.destroyed === true) leave()
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done || gone) break
      if (!answer.write(value)) await drained(answer)
      if (isClosing(answer)) leave()
    }
  } finally {
    answer.off('close', leave)
    const { socket = null } = answer // it knows none any more when it has ended
    answer.end()
    if (isClosing({ socket })) (socket as Partial<Socket>).destroySoon?.()
  }
}

function isClosing({ socket }: Pick<NodeAnswer, 'socket'>): boolean {
  const { server } = (socket ?? {}) as { readonly server?: { readonly listening?: unknown } }
  return server?.listening === false
}

function drained(answer: NodeAnswer): Promise<void> {
  return new Promise((resolve) => {
    const go = (): void => {
      answer.off('drain', go)
      answer.off('close', go)
      resolve()
    }
    answer.once('drain', go)
    answer.once('close', go)
  })
}
