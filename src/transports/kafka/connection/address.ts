import { MersalError } from '../../../core/errors/errors.ts'
import { ambiguousUrl, isAmbiguousUrl } from '../../../lib/ambiguous-url.ts'

/** Where a broker listens. */
export interface Server {
  readonly host: string
  readonly port: number
}

/** What an address says. */
interface AddressOptions {
  readonly bootstrapServers: string
  readonly tls: boolean
  readonly sasl?: {
    readonly mechanism: 'PLAIN'
    readonly username: string
    readonly password: string
  }
}

const FORM = 'host:port,host:port'

function invalid(field: string, text: string): MersalError {
  return new MersalError('MERSAL_INVALID_OPTIONS', `${field}: ${text}`, { details: { field } })
}

/** Throws `MERSAL_INVALID_OPTIONS` without showing any of it: it may hold a password. */
export function parseServers(given: unknown): readonly Server[] {
  const field = 'kafka.bootstrapServers'
  const list: unknown[] =
    typeof given === 'string' ? given.split(',') : Array.isArray(given) ? given : []
  if (list.length === 0) throw invalid(field, `expected text like ${FORM}`)
  return list.map((one) => {
    const text = typeof one === 'string' ? one.trim() : ''
    if (text.includes('@') || text.includes('://'))
      throw invalid(field, `expected ${FORM}; user and password are in 'sasl', TLS is in 'tls'`)
    const found = /^(?:\[([\da-f:]+)\]|([A-Za-z0-9._-]+))(?::(\d{1,5}))?$/i.exec(text)
    const port = Number(found?.[3] ?? 9092)
    if (found === null || port < 1 || port > 65_535) throw invalid(field, `expected ${FORM}`)
    return { host: (found[1] ?? found[2]) as string, port }
  })
}

/**
 * Options from an address such as `kafka://user:password@host:port,host:port?sasl=PLAIN`, for
 * tools. `kafkas://` asks for TLS. Throws without showing any of it.
 */
export function optionsFromUrl(url: unknown): AddressOptions {
  const field = 'kafka.url'
  const form = 'kafka://user:password@host:port'
  const text = typeof url === 'string' ? url : ''
  const found = /^(kafkas?):\/\/(?:([^@/]*)@)?([^@/?]+)\/?(?:\?sasl=([A-Z0-9-]+))?$/.exec(text)
  if (found === null || isAmbiguousUrl(text))
    throw invalid(field, found === null ? `expected ${form}` : ambiguousUrl)
  const [, scheme, login, servers = '', mechanism = 'SCRAM-SHA-512'] = found
  const base = { bootstrapServers: servers, tls: scheme === 'kafkas' }
  if (login === undefined) return base
  const [username = '', password = ''] = login.split(':').map((part) => decoded(field, part))
  return { ...base, sasl: { mechanism: mechanism as 'PLAIN', username, password } }
}

function decoded(field: string, part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    // No `cause`: nothing made of the URL may travel on.
    throw invalid(field, 'user or password is not percent-encoded; use encodeURIComponent()')
  }
}
