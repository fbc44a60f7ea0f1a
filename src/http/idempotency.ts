import type { OnceRequest, OnceResult } from '../app/once/request.ts'
import type { UnitSender } from '../app/types.ts'
import {
  checkBoolean,
  checkNumber,
  checkOptions,
  checkShape,
  invalidOption,
} from '../core/options.ts'
import { expressRoute, type ExpressRoute } from './express.ts'
import { fastifyRoute, type FastifyRoute } from './fastify.ts'
import { fetchRoute, type FetchRoute, honoRoute, type HonoRoute } from './fetch.ts'
import { onceTimes } from '../core/records/once.ts'
import { readKeyHeader } from './key-header.ts'
import { malformedKey, missingKey, problemOf, problemReply } from './problems.ts'
import { type KeptReply, keptReply, replayOf, type Reply, replyOf } from './reply.ts'
import type { Facts, Serve } from './route.ts'

/** The part of an app that serves requests: `Mersal`. */
export interface OnceApp<Tx> {
  once<Answer>(
    request: OnceRequest,
    work: (tx: Tx, sender: UnitSender) => Promise<Answer>,
  ): Promise<OnceResult<Answer>>
  transaction<Answer>(work: (tx: Tx, sender: UnitSender) => Promise<Answer>): Promise<Answer>
}

/** Options of `idempotency()`. */
export interface IdempotencyOptions {
  /** False: a request without the header runs in a plain transaction. Default true: 400. */
  readonly required?: boolean
  /** Also takes keys without quotation marks. Default false, as the draft of the IETF says. */
  readonly unquotedKeys?: boolean
  /**
   * Names of the headers that a repeat gets again. Default: all that the handler has set, but
   * `set-cookie`.
   */
  readonly headers?: readonly string[]
  /** Address of a page for clients, which the answers to mistakes name. Default none. */
  readonly documentation?: string
  /** As in `app.once`, in milliseconds. From 0 to an hour. Default 5,000. */
  readonly waitMs?: number
  /** As in `app.once`, in milliseconds. From a second to ten years. Default 24 hours. */
  readonly keepMs?: number
}

/** Routes for each framework whose effect happens once for each key. */
export interface Idempotency<Tx> {
  /** A handler for Express 5. Put `express.json()` or another parser of the body before it. */
  readonly express: ExpressRoute<Tx>
  /** A handler for Fastify 5. */
  readonly fastify: FastifyRoute<Tx>
  /** A handler for Hono 4. */
  readonly hono: HonoRoute<Tx>
  /** A handler of web requests, for Next.js and others. */
  readonly fetch: FetchRoute<Tx>
}

const known = ['required', 'unquotedKeys', 'headers', 'documentation', 'waitMs', 'keepMs']

/**
 * Routes that speak `Idempotency-Key` as the draft of the IETF has it. The handler runs in one
 * transaction with the key and the answer. It returns a `Response`, which is sent after the commit.
 * An answer of 500 and above rolls everything back and is not kept; neither is an error.
 *
 * A repeat gets status, headers and body again, with `idempotent-replayed: true`. Answers with
 * `application/problem+json`: 400 (no key, or a malformed one), 409 (the request is running), 422
 * (another request had this key), 503 (the outcome is unknown: repeat it).
 *
 * Throws `MERSAL_INVALID_OPTIONS`.
 */
export function idempotency<Tx>(
  app: OnceApp<Tx>,
  options: IdempotencyOptions = {},
): Idempotency<Tx> {
  checkShape('idempotency().app', app, ['once', 'transaction'])
  checkOptions('idempotency()', options, known)
  const { headers, documentation } = options
  if (headers !== undefined && !(Array.isArray(headers) && headers.every(isName)))
    throw invalidOption('idempotency().headers', 'expected a list of names of headers')
  if (documentation !== undefined && !isAddress(documentation))
    throw invalidOption('idempotency().documentation', 'expected an address with http or https')
  const kept = headers && new Set(headers.map((name) => name.toLowerCase()))
  const serving: Serving<Tx> = {
    app,
    required: checkBoolean('idempotency().required', options.required) ?? true,
    unquoted: checkBoolean('idempotency().unquotedKeys', options.unquotedKeys) ?? false,
    keeps: (name) => kept?.has(name) ?? name !== 'set-cookie',
    documentation,
    times: {
      waitMs: checkNumber('idempotency().waitMs', options.waitMs, onceTimes.waitMs),
      keepMs: checkNumber('idempotency().keepMs', options.keepMs, onceTimes.keepMs),
    },
  }
  const serve: Serve<Tx> = (request, work) => serveOnce(serving, request, work)
  return {
    express: expressRoute(serve),
    fastify: fastifyRoute(serve),
    hono: honoRoute(serve),
    fetch: fetchRoute(serve),
  }
}

const isName = (given: unknown): boolean =>
  typeof given === 'string' && /^[\w!#$%&'*+.^`|~-]+$/.test(given)

const isAddress = (given: unknown): boolean =>
  typeof given === 'string' && /^https?:\/\/[^\s<>"]+$/.test(given)

interface Serving<Tx> {
  readonly app: OnceApp<Tx>
  readonly required: boolean
  readonly unquoted: boolean
  readonly keeps: (name: string) => boolean
  readonly documentation: string | undefined
  readonly times: Pick<OnceRequest, 'waitMs' | 'keepMs'>
}

async function serveOnce<Tx>(
  serving: Serving<Tx>,
  request: Facts,
  work: Parameters<Serve<Tx>>[1],
): Promise<Reply> {
  const header = readKeyHeader(request.keyHeader, serving)
  if (header.kind === 'malformed') return problemReply(malformedKey, serving)
  if (header.kind === 'missing' && serving.required) return problemReply(missingKey, serving)
  const undo = new Error('the answer says that the request has failed: it is rolled back')
  let reply: Reply | undefined
  const unit = async (tx: Tx, sender: UnitSender): Promise<KeptReply> => {
    reply = undefined
    reply = await replyOf(await work(tx, sender))
    if (reply.status >= 500) throw undo
    return keptReply(reply, serving.keeps)
  }
  try {
    if (header.kind === 'missing') {
      await serving.app.transaction(unit)
      return reply as unknown as Reply
    }
    const { response, replayed } = await serving.app.once(
      await once(serving, request, header),
      unit,
    )
    return replayed ? markedReplay(response) : (reply as unknown as Reply)
  } catch (error) {
    if (error === undo && reply !== undefined) return reply
    // Without a key the client cannot repeat the request safely, so nothing may ask it to.
    const problem = header.kind === 'key' ? problemOf(error) : undefined
    if (problem === undefined) throw error
    return problemReply(problem, serving)
  }
}

async function once<Tx>(
  { times }: Serving<Tx>,
  { scope, fingerprint }: Facts,
  { key }: { readonly key: string },
): Promise<OnceRequest> {
  const more = scope === undefined ? {} : { scope }
  return { key, ...more, fingerprint: await fingerprint(), ...times }
}

function markedReplay(kept: KeptReply): Reply {
  const { headers, ...reply } = replayOf(kept)
  return { ...reply, headers: [...headers, ['idempotent-replayed', 'true']] }
}
