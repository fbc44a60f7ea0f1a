/** What a header `Idempotency-Key` says. */
export type KeyHeader =
  | { readonly kind: 'key'; readonly key: string }
  | { readonly kind: 'missing' }
  | { readonly kind: 'malformed' }

const QUOTED = '"((?:[\\x20\\x21\\x23-\\x5b\\x5d-\\x7e]|\\\\["\\\\])*)"'
const TOKEN = "[A-Za-z*][A-Za-z0-9:/!#$%&'*+.^_`|~-]*"
const NUMBER = '-?[0-9]+(?:\\.[0-9]+)?'
const BYTES = ':[A-Za-z0-9+/=]*:'
const BARE = `(?:${QUOTED.replace('((?:', '(?:(?:')}|${TOKEN}|${NUMBER}|${BYTES}|\\?[01])`
const PARAMETERS = `(?:; *[a-z*][a-z0-9_.*-]*(?:=${BARE})?)*`
const ITEM = new RegExp(`^ *${QUOTED}${PARAMETERS} *$`)
const UNQUOTED = /^[!-+\--:<-~]+$/

/**
 * Reads the header as the draft of the IETF has it: a string item of a structured field (RFC 9651),
 * `"8e03978e-40d5-43dd-bc93-6894a57f9324"`. Parameters are ignored. `unquoted`: also takes a key
 * without quotation marks, of visible ASCII without `,`, `;` and `"`.
 */
export function readKeyHeader(
  value: string | readonly string[] | null | undefined,
  { unquoted }: { readonly unquoted: boolean },
): KeyHeader {
  if (value === undefined || value === null) return { kind: 'missing' }
  if (typeof value !== 'string') return { kind: 'malformed' }
  const text = value.trim()
  const quoted = ITEM.exec(text)?.[1]
  if (quoted !== undefined) return { kind: 'key', key: quoted.replaceAll(/\\(["\\])/g, '$1') }
  if (unquoted && !text.includes('"') && UNQUOTED.test(text)) return { kind: 'key', key: text }
  return { kind: 'malformed' }
}
