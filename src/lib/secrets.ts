/** More than this of a text is never shown. */
const LONGEST = 4000
/** A piece of a secret may stand where a text is cut. */
const PIECE = /\S{0,500}$/

/** User and password of a URL, however badly they are encoded: up to the last `@` of the word. */
const USER_INFO = /:\/\/[^\s"'<>]*@/g
/** `password=…`, `"token": "…"`, `api_key: …`. */
const NAMED =
  /\b((?:ssl)?pass(?:word|wd|phrase)?|pwd|secret|token|api[-_]?key|credentials?)(["']?\s*[=:]\s*)("[^"]*"|'[^']*'|[^\s,;&"'}]+)/gi
const AUTHORIZATION = /\b(bearer|basic)\s+[\w.~+/=-]{8,}/gi
/** JSON.parse quotes what it could not read: a piece of somebody's body. */
const NOT_JSON = /, (?:\.\.\.)?"[^]*"(?:\.\.\.)? is not valid JSON$/

/** The text without what looks like a secret. It hides too much rather than too little. */
export function withoutSecrets(text: string): string {
  const cut = text.length > LONGEST ? text.slice(0, LONGEST).replace(PIECE, '…') : text
  return cut
    .replace(NOT_JSON, ' is not valid JSON')
    .replace(USER_INFO, '://***@')
    .replace(AUTHORIZATION, '$1 ***')
    .replace(NAMED, '$1$2***')
}
