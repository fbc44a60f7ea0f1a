/**
 * What must be percent-encoded in a user or a password, and a percent sign that encodes nothing.
 */
const UNENCODED = /[@#/?:\s[\]]|%(?![0-9a-f]{2})/i

/**
 * Whether a URL may be understood in several ways because its user or password is not
 * percent-encoded. A client that reads it in another way takes a piece of the password for the
 * host, and then shows it: `getaddrinfo ENOTFOUND 2secret`. So a URL may hold one `@`, and that one
 * belongs before the host.
 */
export function isAmbiguousUrl(url: string): boolean {
  const rest = url.replace(/^[a-z][a-z0-9+.-]*:\/\//i, '')
  const at = rest.indexOf('@')
  if (at === -1) return false
  const info = rest.slice(0, at)
  const colon = info.indexOf(':')
  const [user, password] = colon === -1 ? [info, ''] : [info.slice(0, colon), info.slice(colon + 1)]
  return rest.includes('@', at + 1) || UNENCODED.test(user) || UNENCODED.test(password)
}

/** Nothing of the URL. */
export const ambiguousUrl: string =
  "the user or the password is not percent-encoded; encode each of them with encodeURIComponent(), and any other '@' as %40"
