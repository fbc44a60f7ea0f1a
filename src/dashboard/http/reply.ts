import { safeLines } from '../../lib/one-line.ts'
import { type Problem, WrongMethod } from './problem.ts'

type Headers = Readonly<Record<string, string>>

/** Nothing from elsewhere, nothing inline, nobody around it. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
].join('; ')

/** Of every answer. */
const always: Headers = {
  'content-security-policy': POLICY,
  'x-frame-options': 'DENY',
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'cache-control': 'no-store',
}

export function reply(
  status: number,
  body: string | ReadableStream<Uint8Array> | null,
  headers: Headers = {},
): Response {
  return new Response(body, { status, headers: { ...always, ...headers } })
}

/** `mask`: hides what must not be shown, in the text of JSON. */
export function json(value: unknown, mask: Mask, status = 200): Response {
  return reply(status, jsonText(value, mask), { 'content-type': 'application/json' })
}

export type Mask = (text: string) => string

/** JSON that also a terminal may show: what moves a cursor or turns text around is escaped. */
export function jsonText(value: unknown, mask: Mask): string {
  return safeLines(mask(JSON.stringify(value)))
}

/** As RFC 9457 has it. */
export function problemReply(found: Problem, mask: Mask): Response {
  const { status, code, message } = found
  const more: Headers =
    status === 401
      ? { 'www-authenticate': 'Bearer realm="mersal"' }
      : status === 503
        ? { 'retry-after': '2' }
        : found instanceof WrongMethod
          ? { allow: found.allow }
          : {}
  return reply(status, jsonText({ status, code, title: message }, mask), {
    'content-type': 'application/problem+json',
    ...more,
  })
}
