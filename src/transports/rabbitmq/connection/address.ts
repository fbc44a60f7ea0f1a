import type { Options } from 'amqplib'
import { MersalError } from '../../../core/errors/errors.ts'
import { ambiguousUrl, isAmbiguousUrl } from '../../../lib/ambiguous-url.ts'
import { printable } from '../../../lib/text.ts'
import { type Describe, describer as hiding } from '../../shared/describe.ts'

const FIELD = 'rabbitmq.url'

function invalid(text: string): MersalError {
  return new MersalError('MERSAL_INVALID_OPTIONS', `${FIELD}: ${text}`, {
    details: { field: FIELD },
  })
}

function decoded(part: string, name: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    // No `cause`: the error of the decoder is harmless, but nothing made of the URL may travel on.
    throw invalid(`the ${name} is not percent-encoded; encode it with encodeURIComponent()`)
  }
}

/**
 * The parts of an AMQP URL. Throws `MERSAL_INVALID_OPTIONS` without showing any of it: the errors
 * of `new URL()` carry the whole input, password included, so that constructor is not used.
 */
export function parseAddress(url: unknown): Options.Connect {
  const form = 'amqp://user:password@host:port/vhost'
  if (typeof url !== 'string' || url === '') throw invalid(`expected text like ${form}`)
  if (isAmbiguousUrl(url)) throw invalid(ambiguousUrl)
  const parts = URL.parse(url)
  if (parts === null)
    throw invalid(
      `not a URL; expected ${form}, user and password encoded with encodeURIComponent()`,
    )
  const protocol = parts.protocol.slice(0, -1)
  if (protocol !== 'amqp' && protocol !== 'amqps')
    throw invalid('must begin with amqp:// or amqps://')
  if (parts.hostname === '') throw invalid(`names no host; expected ${form}`)
  if (parts.search !== '' || parts.hash !== '')
    throw invalid(
      "must end with the vhost; settings are options of rabbitmq(), and '?' and '#' are encoded",
    )
  const guest = parts.username === '' && parts.password === ''
  const vhost = parts.pathname.slice(1)
  decoded(vhost, 'vhost')
  return {
    protocol,
    hostname: parts.hostname.replace(/^\[|\]$/g, ''),
    port: parts.port === '' ? (protocol === 'amqp' ? 5672 : 5671) : Number(parts.port),
    username: guest ? 'guest' : decoded(parts.username, 'user'),
    password: guest ? 'guest' : decoded(parts.password, 'password'),
    // Still encoded: the client decodes it.
    vhost: vhost === '' ? '/' : vhost,
  }
}

/**
 * What amqplib makes of the broker's answer when the vhost is missing or not allowed; the broker's
 * own text is lost.
 */
const VHOST_REFUSED = 'Expected ConnectionOpenOk; got <ConnectionClose'

/**
 * The broker has answered that it does not want this user, this password or this vhost: waiting
 * does not help.
 */
export function refusesLogin(error: unknown): boolean {
  return (
    error instanceof Error &&
    (error.message.startsWith(VHOST_REFUSED) ||
      /^Handshake terminated by server: 403\b/.test(error.message))
  )
}

/** As that of all transports, with a text for a vhost that was refused. */
export function describer(secrets: readonly string[], vhost?: string): Describe {
  const place =
    vhost === undefined ? 'the vhost' : `the vhost '${printable(decodeURIComponent(vhost))}'`
  const describe = hiding(secrets)
  return (error) =>
    describe(
      error instanceof Error && error.message.startsWith(VHOST_REFUSED)
        ? new Error(
            `the broker refused ${place}: it does not exist, the user may not use it, or its limit of connections is reached`,
          )
        : error,
    )
}

/** The code that the broker gave (404, 406, ...), or undefined. */
export function replyCode(error: unknown): number | undefined {
  const code =
    typeof error === 'object' && error !== null ? (error as { code?: unknown }).code : undefined
  return typeof code === 'number' ? code : undefined
}
