/** More than this of a text is never shown. */
const LONGEST = 4000
/** A piece of a secret may stand where a text is cut. */
const PIECE = /\S{0,500}$/

/** User and password of a URL, however badly they are encoded: up to the last `@` of the word. */
const USER_INFO = /:\/\/[^\s"'<>]*@/g

/** Also in JSON that was put into JSON: `\"password\":`. */
const SEPARATOR = String.raw`\\*["']?\s*[=:]\s*`
const QUOTED = String.raw`"(?:\\.|[^"\\])*(?:"|$)|'(?:\\.|[^'\\])*(?:'|$)`
/** What a name of a secret may be a part of, `DB_`, `x-`, `options.client`. */
const BEFORE = String.raw`[\w.-]{0,40}?`
const KEYS = `(?:private|secret|access|signing|account|shared|encryption|api)[-_]?(?:access[-_]?)?keys?`
const LONG_NAMES = `${BEFORE}(?:passwords?|passwds?|passphrases?|secrets?|tokens?|credentials?|${KEYS})`
/** Words that others end with: `compass`. */
const SHORT_NAMES = `(?:${BEFORE}[_.-])?(?:ssl)?(?:pass|pwd)`
const NESTED = String.raw`(\\+)["'][^]*?(?:\3["'](?=\s*(?:[,}\]]|$))|$)`
/** `password=…`, `"access_token": "…"`, `clientSecret: [ … ]`. */
const NAMED = new RegExp(
  String.raw`\b(${LONG_NAMES}|${SHORT_NAMES})(${SEPARATOR})(?:${NESTED}|${QUOTED}|\[[^\]]*(?:\]|$)|[^\s,;&"'}]+)`,
  'gi',
)
/** Their values have spaces and parts of their own. */
const HEADERS = new RegExp(
  String.raw`\b((?:proxy-)?authorization|(?:set-)?cookie)(${SEPARATOR})(?:${QUOTED}|[^\r\n"'}]+)`,
  'gi',
)
const AUTHORIZATION = /\b(bearer|basic)\s+[\w.~+/=-]{8,}/gi
/** `ALTER ROLE … PASSWORD '…'`, `IDENTIFIED BY '…'`. */
const IN_SQL = /\b(password|identified\s+by)(\s+)(?:'(?:''|[^'])*'?|"[^"]*"?)/gi
const WEB_TOKEN = /\beyJ[\w-]{10,}\.[\w-]+(?:\.[\w-]*)?/g
const PRIVATE_KEY =
  /-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----[^]*?(?:-----END [A-Z ]{0,20}PRIVATE KEY-----|$)/g
/** JSON.parse quotes what it could not read: a piece of somebody's body. */
const NOT_JSON = /, (?:\.\.\.)?"[^]*"(?:\.\.\.)? is not valid JSON$/

/** The text without what looks like a secret. It hides too much rather than too little. */
export function withoutSecrets(text: string): string {
  const cut = text.length > LONGEST ? text.slice(0, LONGEST).replace(PIECE, '…') : text
  return cut
    .replace(NOT_JSON, ' is not valid JSON')
    .replace(PRIVATE_KEY, '***')
    .replace(USER_INFO, '://***@')
    .replace(HEADERS, '$1$2***')
    .replace(AUTHORIZATION, '$1 ***')
    .replace(NAMED, '$1$2***')
    .replace(IN_SQL, '$1$2***')
    .replace(WEB_TOKEN, '***')
}
