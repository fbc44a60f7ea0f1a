import { problem } from '../http/problem.ts'

/**
 * Throws unless a write comes from the page itself, or from a program that has shown a token. A
 * page of somebody else can make a browser send cookies, but neither `Sec-Fetch-Site: same-origin`,
 * nor our `Origin`, nor a body of JSON without being asked for leave first, which is never given.
 */
export function checkWrite(request: Request, origins: ReadonlySet<string>): void {
  const type = request.headers.get('content-type') ?? ''
  if (!/^application\/json(?:\s*;|\s*$)/i.test(type))
    throw problem(415, 'not-json', 'Send a body of application/json.')
  if (!isOwn(request, origins))
    throw problem(403, 'foreign-origin', 'This change does not come from the dashboard itself.')
}

/**
 * Throws if the page of somebody else asks. It could not read the answer, but it could make it be
 * made again and again, and measure how long that takes.
 */
export function checkRead(request: Request, origins: ReadonlySet<string>): void {
  const site = request.headers.get('sec-fetch-site')
  if (site === null || site === 'same-origin' || site === 'none') return
  if (origins.has((request.headers.get('origin') ?? '').toLowerCase())) return
  throw problem(403, 'foreign-origin', 'This question does not come from the dashboard itself.')
}

/** Throws for a name that is none of ours: a name of somebody else may be made to point here. */
export function checkHost({ url }: Request, hosts: ReadonlySet<string> | undefined): void {
  if (hosts !== undefined && !hosts.has(new URL(url).hostname))
    throw problem(421, 'foreign-host', 'This is not its address.')
}

function isOwn(request: Request, origins: ReadonlySet<string>): boolean {
  const origin = request.headers.get('origin')
  // What the operator has named holds, whatever a proxy made of the address.
  if (origin !== null && origins.has(origin.toLowerCase())) return true
  const site = request.headers.get('sec-fetch-site')
  if (site !== null) return site === 'same-origin'
  if (origin !== null) return hostOf(origin) === new URL(request.url).host
  // No browser: every one sends Origin with a write. Only a program can set this header.
  return /^bearer /i.test(request.headers.get('authorization') ?? '')
}

/** A proxy that ends TLS changes the scheme, so hosts are compared. */
function hostOf(origin: string): string | undefined {
  return URL.canParse(origin) ? new URL(origin).host : undefined
}
