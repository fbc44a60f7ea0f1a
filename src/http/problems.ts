import { type ErrorCode, isMersalError } from '../core/errors/errors.ts'
import type { Reply } from './reply.ts'

export interface ProblemOptions {
  /** Address of a page that explains keys to clients. */
  readonly documentation: string | undefined
}

interface Problem {
  readonly status: number
  readonly title: string
  readonly detail: string
  readonly code?: string
  /** Seconds after which the client may repeat the request with the same key. */
  readonly retryAfter?: number
}

export const missingKey: Problem = {
  status: 400,
  title: 'Idempotency-Key is missing',
  detail: 'This operation needs the header Idempotency-Key, with a new key for each new request.',
}

export const malformedKey: Problem = {
  status: 400,
  title: 'Idempotency-Key is malformed',
  detail:
    'The header Idempotency-Key must be one string in quotation marks, of 1 to 255 characters, such as "8e03978e-40d5-43dd-bc93-6894a57f9324".',
}

const problems: Partial<Record<ErrorCode, Problem>> = {
  MERSAL_ONCE_KEY: malformedKey,
  MERSAL_ONCE_RUNNING: {
    status: 409,
    title: 'A request with this Idempotency-Key is being processed',
    detail: 'Repeat the request later with the same key to get its answer.',
    retryAfter: 1,
  },
  MERSAL_ONCE_REUSED: {
    status: 422,
    title: 'Idempotency-Key was used before',
    detail: 'The key belongs to another request. Make a new key for each new request.',
  },
  MERSAL_COMMIT_UNKNOWN: {
    status: 503,
    title: 'The outcome of the request is unknown',
    detail: 'Repeat the request with the same key: it takes effect once.',
    retryAfter: 1,
  },
}

/** What the client is told of an error; undefined: it is no error of this kind. */
export function problemOf(error: unknown): Problem | undefined {
  if (!isMersalError(error)) return undefined
  const { code, details } = error
  // A bad scope is a mistake of the program.
  if (code === 'MERSAL_ONCE_KEY' && details['field'] !== 'once().key') return undefined
  const problem = problems[code]
  return problem && { ...problem, code }
}

/** As `application/problem+json` (RFC 9457). */
export function problemReply(
  { retryAfter, ...problem }: Problem,
  { documentation }: ProblemOptions,
): Reply {
  const type = documentation === undefined ? {} : { type: documentation }
  const headers: [string, string][] = [
    ['content-type', 'application/problem+json'],
    ['cache-control', 'no-store'],
  ]
  if (retryAfter !== undefined) headers.push(['retry-after', String(retryAfter)])
  if (documentation !== undefined)
    headers.push(['link', `<${documentation}>; rel="describedby"; type="text/html"`])
  const body = Buffer.from(JSON.stringify({ ...type, ...problem }))
  return { status: problem.status, headers, body }
}
