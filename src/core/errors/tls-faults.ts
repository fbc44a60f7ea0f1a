import { causesOf, readProperty } from './causes.ts'

/** Codes of Node for certificates and for what is no TLS. A handshake that takes long is neither. */
const NODE =
  /^(?:CERT_|ERR_TLS_(?!HANDSHAKE_TIMEOUT)|ERR_SSL_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|HOSTNAME_)/
/** Drivers of MySQL put a code of their own in the place of that of Node, or refuse by themselves. */
const MYSQL = /^(?:HANDSHAKE_SSL_ERROR|HANDSHAKE_NO_SSL_SUPPORT|ER_SECURE_TRANSPORT_REQUIRED)$/
/** `pg` gives no code when the server has no TLS. */
const NO_TLS = /^The server does not support SSL connections/

/** What is wrong, by the code or the text of the error, and what to do about it. */
const remedies: readonly (readonly [RegExp, string])[] = [
  [
    /UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|self.signed certificate|unable to (?:get|verify)/i,
    'its certificate is signed by nobody that this process trusts: give the certificate of the authority as `ca` where TLS is set, or as a file in NODE_EXTRA_CA_CERTS',
  ],
  [
    /CERT_HAS_EXPIRED|CERT_NOT_YET_VALID|certificate (?:has expired|is not yet valid)/i,
    'its certificate is not valid now: renew it, or set the clock of this machine',
  ],
  [
    /ALTNAME|HOSTNAME_|does not match certificate/i,
    'its certificate is for another host: connect by a name in the certificate, or give that as `servername` where TLS is set',
  ],
  [
    /SECURE_TRANSPORT_REQUIRED/,
    'it takes only connections with TLS: set TLS in the options of the client',
  ],
  [
    /NO_SSL_SUPPORT|not support SSL|WRONG_VERSION/i,
    'it speaks no TLS there: switch TLS on at the server, or use the port that has it',
  ],
]

const textsOf = (error: unknown): readonly string[] =>
  ['code', 'message']
    .map((name) => readProperty(error, name))
    .filter((it) => typeof it === 'string')

/** The same of one error alone. */
export function isAboutTls(error: unknown): boolean {
  const [code, message] = ['code', 'message'].map((name) => readProperty(error, name))
  if (typeof code === 'string' && (NODE.test(code) || MYSQL.test(code))) return true
  return typeof message === 'string' && NO_TLS.test(message)
}

/**
 * Whether the error, or one of its causes, is about certificates, or about TLS that one side does
 * not want: waiting does not help.
 */
export function isFaultOfTls(error: unknown): boolean {
  return causesOf(error).some(isAboutTls)
}

/** What to do about it; undefined if the error is about something else. */
export function tlsRemedy(error: unknown): string | undefined {
  const texts = causesOf(error).filter(isAboutTls).flatMap(textsOf)
  if (texts.length === 0) return undefined
  const found = remedies.find(([pattern]) => texts.some((text) => pattern.test(text)))
  return found?.[1] ?? 'no secure connection could be made'
}
