import { serve, type Serving } from './serve.ts'
import { mountedAt, type NodeAnswer, type NodeAsk, toRequest, writeResponse } from './http/node.ts'
import { checkBasePath } from './http/base-path.ts'
import { problem, problemOf } from './http/problem.ts'
import { problemReply } from './http/reply.ts'
import { checkDashboard, type DashboardOptions, type DashboardParts } from './options.ts'

/**
 * Answers requests of the web: `(request) => Promise<Response>`, for Hono, Next.js and others.
 * Needs no `this`. Disposing of it ends the open pages, and what it remembers.
 */
export interface Dashboard extends Disposable {
  (request: Request): Promise<Response>
  /**
   * For `node:http`, Express, and others that have its requests. `body`: what a framework has read
   * of it, such as `request.body` of Fastify. Default: that of the request, or read here.
   */
  readonly node: (request: NodeAsk, response: NodeAnswer, body?: unknown) => Promise<void>
}

/**
 * A page for operators: what waits, what is dead in both directions, pauses, sagas, and the way of
 * a message; and beneath it an API with the same rights. Read-only unless `allow` says more. Show it
 * by the handler that is returned. Make it before `start()` of the apps, so that it remembers from
 * the beginning. It closes neither apps nor stores.
 *
 * Throws `MERSAL_INVALID_OPTIONS`, also without `access` and `token`.
 */
export function dashboard(options: DashboardOptions): Dashboard {
  return createDashboard(checkDashboard(options))
}

/** The same of options that have been checked. */
export function createDashboard(parts: DashboardParts): Dashboard {
  const serving = serve(parts)
  const answer = (request: Request): Promise<Response> => serving.answer(request, parts.base ?? [])
  return Object.assign(answer, {
    node: (ask: NodeAsk, response: NodeAnswer, body?: unknown) =>
      // Express gives its `next` here.
      onNode(
        parts,
        serving,
        ask,
        response,
        typeof body === 'function' ? ask.body : (body ?? ask.body),
      ),
    [Symbol.dispose]: () => serving[Symbol.dispose](),
  })
}

async function onNode(
  { base, mask }: DashboardParts,
  serving: Serving,
  ask: NodeAsk,
  response: NodeAnswer,
  body: unknown,
): Promise<void> {
  let found: Response
  try {
    const request = toRequest(ask, body)
    found = await serving.answer(request, base ?? baseOf(ask))
  } catch (thrown) {
    found = problemReply(problemOf(thrown), mask)
  }
  await writeResponse(found, response)
}

function baseOf(ask: NodeAsk): readonly string[] {
  try {
    return checkBasePath('path', mountedAt(ask)) ?? []
  } catch {
    throw problem(400, 'bad-path', 'The path is not encoded as in URLs.')
  }
}
