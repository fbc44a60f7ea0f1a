import { problem } from './problem.ts'

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
  setHeader(name: string, value: string): unknown
  write(bytes: Uint8Array): boolean
  end(): unknown
  once(event: 'drain' | 'close', listener: () => void): unknown
  off(event: 'drain' | 'close', listener: () => void): unknown
}

/** No write of the page is nearly as large. */
const MOST_BYTES = 1024 * 1024

/** The path that a framework has taken off, as Express does for `use('/admin', …)`. */
export function mountedAt({ url = '/', originalUrl = url }: NodeAsk): string {
  const [whole = ''] = originalUrl.split('?', 1)
  const [rest = ''] = url.split('?', 1)
  if (whole === rest) return ''
  if (whole.endsWith(rest)) return whole.slice(0, -rest.length)
  return rest === '/' ? whole : ''
}

/** As a request of the web. Throws a problem if it is none. `given`: its body, if it was read. */
export async function toRequest(ask: NodeAsk, given: unknown): Promise<Request> {
  const { method = 'GET', headers, url = '/', originalUrl = url } = ask
  const host = typeof headers['host'] === 'string' ? headers['host'] : ''
  const address = `http://${host}${originalUrl}`
  if (!/^[\w.:[\]-]+$/.test(host) || !originalUrl.startsWith('/') || !URL.canParse(address))
    throw problem(400, 'bad-request', 'The request has no proper address.')
  const pairs = Object.entries(headers).flatMap(([name, value]): [string, string][] =>
    value === undefined || name.startsWith(':')
      ? []
      : [value].flat().map((one): [string, string] => [name, one]),
  )
  if (method === 'GET' || method === 'HEAD') return new Request(address, { method, headers: pairs })
  const body = given === undefined ? await readBody(ask) : JSON.stringify(given)
  return new Request(address, { method, headers: pairs, body })
}

async function readBody(ask: NodeAsk): Promise<Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array[] = []
  let bytes = 0
  for await (const part of ask) {
    const piece = typeof part === 'string' ? Buffer.from(part) : (part as Uint8Array)
    bytes += piece.byteLength
    if (bytes > MOST_BYTES) throw problem(413, 'too-large', 'The body is too large.')
    parts.push(piece)
  }
  return new Uint8Array(Buffer.concat(parts))
}

/** Writes the response, no faster than it is read. */
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
    }
  } finally {
    answer.off('close', leave)
    answer.end()
  }
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
