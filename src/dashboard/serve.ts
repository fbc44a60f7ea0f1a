import { errorFields } from '../core/errors/error-text.ts'
import type { Logger } from '../core/telemetry.ts'
import { type Gate, gateOf } from './access/gate.ts'
import type { Right } from './access/rights.ts'
import { checkHost, checkRead, checkWrite } from './access/same-origin.ts'
import { overviewOf } from './api/overview.ts'
import { createLanes, type Lanes } from './api/lanes.ts'
import { type Desk, type Input, readInput, type Route } from './api/route.ts'
import { description, routes } from './api/routes.ts'
import { asset } from './http/assets.ts'
import { below, type Segments, withSlash } from './http/base-path.ts'
import { type Problem, problem, problemOf, WrongMethod } from './http/problem.ts'
import { json, jsonText, problemReply, reply } from './http/reply.ts'
import { keepJournal } from './live/journal.ts'
import { createLive, type Live } from './live/live.ts'
import { watch } from './live/watch.ts'
import type { DashboardParts } from './options.ts'

export interface Serving extends Disposable {
  /** Never rejects. `base`: below which path the dashboard is. */
  answer(request: Request, base: Segments): Promise<Response>
}

/** What answers are made of. */
interface Works {
  readonly parts: DashboardParts
  readonly desk: Desk
  readonly live: Live
  readonly gate: Gate
  readonly lanes: Lanes
}

export function serve(parts: DashboardParts): Serving {
  const { sources, mask } = parts
  const watches = sources.map(watch)
  const watched: Desk['watched'] = () => Promise.all(watches.map((one) => one()))
  const apps = sources.filter(({ kind }) => kind === 'app').map(({ name }) => name)
  const journal = keepJournal(new Set(apps), parts.remember)
  const look = async (): Promise<string> => jsonText(overviewOf(await watched()), mask)
  const live = createLive(look, parts.liveClients)
  const gate = gateOf(parts.lock, parts.allow)
  const desk = { sources, watched, journal }
  const works = { parts, desk, live, gate, lanes: createLanes() }
  return {
    async answer(request, base) {
      try {
        const found = await answer(works, request, base)
        return request.method === 'HEAD' ? reply(found.status, null, headersOf(found)) : found
      } catch (thrown) {
        return problemReply(noted(problemOf(thrown), parts.logger), mask)
      }
    },
    [Symbol.dispose]() {
      live[Symbol.dispose]()
      journal[Symbol.dispose]()
    },
  }
}

async function answer(works: Works, request: Request, base: Segments): Promise<Response> {
  checkHost(request, works.parts.hosts)
  const url = new URL(request.url)
  const rest = below(url.pathname, base)
  if (rest === undefined) throw nothingHere()
  if (rest.length === 0) return reply(302, null, { location: withSlash(url) })
  // A part with a slash in it would be taken for two, past whoever looks at paths before us.
  if (rest.some((part) => part.includes('/'))) throw nothingHere()
  const [first, ...more] = rest
  return first === 'api'
    ? await call(works, request, more.join('/'))
    : await page(works, request, rest.join('/'))
}

async function page({ gate }: Works, request: Request, name: string): Promise<Response> {
  onlyGet(request)
  await gate.see(request)
  const found = await asset(name === '' ? 'index.html' : name, request)
  if (found === undefined) throw nothingHere()
  return found
}

async function call(works: Works, request: Request, path: string): Promise<Response> {
  if (request.method !== 'POST') checkRead(request, works.parts.origins)
  const rights = await works.gate.enter(request)
  if (path !== 'live' && path !== 'openapi.json') return await run(works, request, path, rights)
  onlyGet(request)
  return path === 'live' ? stream(works, request) : json(description, works.parts.mask)
}

function stream({ live }: Works, { method }: Request): Response {
  const events = method === 'HEAD' ? null : live.open()
  if (events === undefined)
    throw problem(503, 'enough-pages', 'Enough pages are open: this one asks now and then.')
  return reply(200, events, { 'content-type': 'text/event-stream', 'x-accel-buffering': 'no' })
}

async function run(
  { desk, parts, lanes }: Works,
  request: Request,
  path: string,
  rights: ReadonlySet<Right>,
): Promise<Response> {
  const all = routes.filter((route) => route.path === path)
  const method = request.method === 'HEAD' ? 'GET' : request.method
  const route = all.find((one) => one.method === method)
  if (route === undefined)
    throw all.length === 0 ? nothingHere() : wrongMethod(all.map((one) => one.method))
  if (route.method === 'POST') checkWrite(request, parts.origins)
  if (route.right !== undefined && !rights.has(route.right))
    throw problem(403, 'no-right', `This needs the right '${route.right}', which you do not have.`)
  const input = await readInput(route, request)
  const work = (): Promise<unknown> => route.run({ desk, input, rights })
  const lane = laneOf(route, input, desk)
  return json(await (lane === undefined ? work() : lanes(lane, work)), parts.mask)
}

/** Changes do not wait for questions, and no database for another one. Undefined: it asks none. */
function laneOf({ method, path }: Route, { source }: Input, { sources }: Desk): string | undefined {
  if (path === 'way') return path
  // A name that nobody has would be kept for nothing.
  return sources.some(({ name }) => name === source) ? `${method} ${String(source)}` : undefined
}

/** A client is told little, so the log has what went wrong here. */
function noted(found: Problem, logger: Logger): Problem {
  if (found.cause !== undefined)
    logger.warn(
      { status: found.status, problem: found.code, ...errorFields(found.cause) },
      'the dashboard could not answer a request',
    )
  return found
}

const headersOf = ({ headers }: Response): Readonly<Record<string, string>> =>
  Object.fromEntries(headers)

const nothingHere = (): Error => problem(404, 'nothing-here', 'There is nothing of this name here.')
const wrongMethod = (allowed: readonly string[]): Error =>
  new WrongMethod(allowed.flatMap((one) => (one === 'GET' ? ['GET', 'HEAD'] : [one])))

function onlyGet({ method }: Request): void {
  if (method !== 'GET' && method !== 'HEAD') throw wrongMethod(['GET'])
}
