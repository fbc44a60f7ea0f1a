import { MersalError } from '../../../core/errors/errors.ts'
import { ambiguousUrl, isAmbiguousUrl } from '../../../lib/ambiguous-url.ts'

const FIELD = 'nats.url'
const FORM = 'nats://user:password@host:port'

/** Where the servers are, and who wants to connect. */
export interface Address {
  /** `host:port`, without anything secret. */
  readonly servers: readonly string[]
  readonly secure: boolean
  readonly login:
    | { readonly user: string; readonly pass: string }
    | { readonly token: string }
    | undefined
}

function invalid(text: string): MersalError {
  return new MersalError('MERSAL_INVALID_OPTIONS', `${FIELD}: ${text}`, {
    details: { field: FIELD },
  })
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    // No `cause`: nothing made of the URL may travel on.
    throw invalid('user, password or token is not percent-encoded; use encodeURIComponent()')
  }
}

function loginOf({ username, password }: URL): Address['login'] {
  if (username === '' && password === '') return undefined
  if (password === '') return { token: decoded(username) }
  return { user: decoded(username), pass: decoded(password) }
}

function parse(url: string): { server: string; secure: boolean; login: Address['login'] } {
  if (isAmbiguousUrl(url)) throw invalid(ambiguousUrl)
  const parts = URL.parse(url)
  if (parts === null) throw invalid(`not a URL; expected ${FORM}`)
  if (parts.protocol !== 'nats:' && parts.protocol !== 'tls:')
    throw invalid('must begin with nats:// or tls://')
  if (parts.hostname === '') throw invalid(`names no host; expected ${FORM}`)
  if (!['', '/'].includes(parts.pathname) || parts.search !== '' || parts.hash !== '')
    throw invalid('must end with the port; settings are options of nats()')
  const port = parts.port === '' ? '4222' : parts.port
  return {
    server: `${parts.hostname}:${port}`,
    secure: parts.protocol === 'tls:',
    login: loginOf(parts),
  }
}

/**
 * The parts of one URL, or of several with commas between them, of the servers of one cluster.
 * Throws `MERSAL_INVALID_OPTIONS` without showing any of it.
 */
export function parseAddress(url: unknown): Address {
  if (typeof url !== 'string' || url === '') throw invalid(`expected text like ${FORM}`)
  const all = url.split(',').map((one) => parse(one.trim()))
  const login = all.find((one) => one.login !== undefined)?.login
  if (
    all.some(
      (one) => one.login !== undefined && JSON.stringify(one.login) !== JSON.stringify(login),
    )
  )
    throw invalid('the servers of one cluster take the same user and password')
  return {
    servers: all.map(({ server }) => server),
    secure: all.some(({ secure }) => secure),
    login,
  }
}
