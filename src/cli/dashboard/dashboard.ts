import { relayLogger } from '../relay/relay-logger.ts'
import { createServer, type Server } from 'node:http'
import { createDashboard, type Dashboard } from '../../dashboard/dashboard.ts'
import { limits } from '../../dashboard/options.ts'
import { type Source, sourceOfStore } from '../../dashboard/sources.ts'
import { toError } from '../../lib/async/abort.ts'
import { describeError } from '../../operate/describe-error.ts'
import { chosenStores, noMore, type Served } from '../config/access.ts'
import { exitCodes } from '../exit.ts'
import { type Listening, listenAt } from '../listen.ts'
import type { Context, Verb } from '../verb.ts'
import { allowOf, isLoopback, lockOf } from './options.ts'

const PORT = 9465

export const dashboard: Verb = {
  name: 'dashboard',
  summary: 'serve a page: what waits, what is dead, pauses, sagas, the way of a message',
  usage: ['dashboard [--allow RIGHTS] [--port N] [--host NAME] [--store NAMES]'],
  text: `Prints a link with a new token; whoever has it comes in. A token of your own comes from
MERSAL_DASHBOARD_TOKEN. Nothing can be changed, and no body is shown, unless --allow says so:
retry, discard (dead letters), pause (pause and resume), bodies (bodies, foreign headers, states of
sagas). It serves until SIGTERM or SIGINT. The API beneath it is described in api/openapi.json.`,
  options: {
    allow: { kind: 'text', value: 'RIGHTS', text: 'some of retry,discard,pause,bodies' },
    port: {
      kind: 'number',
      value: 'N',
      max: 65_535,
      text: `port; default ${PORT}, or any free one if that is taken`,
    },
    host: { kind: 'text', value: 'NAME', text: 'address to listen on; default 127.0.0.1' },
    store: {
      kind: 'text',
      value: 'NAMES',
      text: 'of several stores only these, with commas in between',
    },
    'no-token': { kind: 'flag', text: 'let in whoever uses this machine; loopback only' },
  },
  examples: ['mersal dashboard', 'mersal dashboard --allow retry,discard,pause'],
  run,
}

async function run(context: Context): Promise<number> {
  const { args, out, load } = context
  noMore(args.positionals, 0)
  const host = args.text('host') ?? '127.0.0.1'
  const lock = lockOf(context, host)
  const allow = allowOf(context)
  const stop = stopSignal()
  const loaded = await load()
  const sources = chosenStores(loaded, args).map((served: Served) =>
    sourceOfStore(served, loaded.config.queues ?? []),
  )
  using ui = createDashboard({
    sources,
    lock,
    allow,
    base: [],
    origins: new Set(),
    hosts: undefined,
    liveClients: limits.liveClients.default,
    remember: 0,
    logger: relayLogger(out, false),
    mask: (text) => out.foreign(text),
  })
  await using listening = await serve(context, ui, host)
  const fragment = lock.kind === 'token' && !lock.given ? `#token=${lock.token}` : ''
  out.line(`${listening.address}/${fragment}`)
  if (lock.given) out.note('the page asks for the token of MERSAL_DASHBOARD_TOKEN')
  if (lock.kind === 'open') out.note('whoever uses this machine may see it: --no-token')
  if (allow.size === 0)
    out.note('nothing can be changed; --allow retry,discard,pause says otherwise')
  for (const source of sources) void tellIfAway(source, context)
  await stop
  return exitCodes.ok
}

/** Never rejects. It goes on serving: the page tells when the store is back. */
async function tellIfAway({ name, ready }: Source, { out }: Context): Promise<void> {
  try {
    await ready()
  } catch (thrown) {
    out.note(`mersal: the store '${name}' cannot be asked now: ${describeError(toError(thrown))}`)
  }
}

function serve({ args }: Context, ui: Dashboard, host: string): Promise<Listening> {
  const place = {
    host,
    port: args.number('port') ?? PORT,
    elsewhere: args.text('port') === undefined,
  }
  return listenAt(serverOf(ui, isLoopback(host)), place)
}

/**
 * On a loopback address only requests that name one are answered: a page of somebody else whose name
 * is made to point here would not be taken for ours.
 */
function serverOf(ui: Dashboard, loopback: boolean): Server {
  const server = createServer((request, response) => {
    const host = /^(?:\[([^\]]*)\]|([^:]*))(?::\d+)?$/.exec(request.headers.host ?? '')
    if (loopback && !isLoopback(host?.[1] ?? host?.[2] ?? '')) {
      response.writeHead(421, { 'content-type': 'text/plain' }).end('this is not its address\n')
      return
    }
    void ui.node(request, response)
  })
  server.headersTimeout = 10_000
  server.requestTimeout = 30_000
  return server
}

/** Resolves at the first signal; a second one ends the process. */
function stopSignal(): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  let asked = false
  for (const name of ['SIGTERM', 'SIGINT'] as const)
    process.on(name, () => {
      if (asked) process.exit(exitCodes.failed)
      asked = true
      resolve()
    })
  return promise
}
