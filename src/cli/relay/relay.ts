import { relaysOf } from '../../outbox/many-stores/relays.ts'
import type { ServedRelay } from '../../outbox/many-stores/store-relay.ts'
import { sharedWindow } from '../../outbox/many-stores/relays-options.ts'
import type { Context, Verb } from '../verb.ts'
import { chosenStores, noMore, type Served } from '../config/access.ts'
import { brokerVariables } from '../adapters.ts'
import { CommandError, exitCodes } from '../exit.ts'
import type { Loaded } from '../config/load-config.ts'
import { relayLogger } from './relay-logger.ts'
import type { ListenPlace } from '../listen.ts'
import { openMonitor } from './monitor.ts'
import { type Once, type OnceOptions, runOnce } from './once.ts'
import { watchParent } from './parent.ts'
import { monitorParts, type Watched } from './relay-health.ts'
import { queuesOf } from '../../operate/queues.ts'
import { createRelayMetrics } from '../../metrics/relay-metrics.ts'

/** The port that Prometheus exporters of OpenTelemetry use. */
const PORT = 9464
/** Below the ten seconds that Docker gives. */
const GRACE_MS = 8000
/** Jobs by a clock mostly run each minute. */
const WITHIN_MS = 50_000

export const relay: Verb = {
  name: 'relay',
  summary: 'run a relay: move messages from the outbox to the broker',
  usage: [
    'relay [--store NAMES] [--port N] [--host NAME] [--grace-ms N]',
    'relay --once [--within-ms N] [--store NAMES] [--grace-ms N]',
  ],
  text: `Several relays may run on one outbox. The apps may run their own as well, or leave the work to these
(outbox.runRelay: false).

SIGTERM and SIGINT stop it gracefully: it makes no new claims, waits until messages in flight are
confirmed and recorded, releases the rest, and exits with code 0. A second signal ends it at once. It
also stops when the npm or npx that started it ends. Logs are JSON lines on standard error.

/healthz: the process is alive. /readyz: it reaches the database. /metrics: metrics for Prometheus.

If the configuration has 'stores', one process serves all of them, or those that --store names. It
is ready as long as it reaches one of them; /readyz?store=NAME answers for one.

With --once it ends as soon as nothing that is due and deliverable is left, as jobs by a clock need
it. It does not listen then. It waits for databases that are away at the start. It exits with code 1 if
a destination has not confirmed a message, or if the time of --within-ms was up before.`,
  options: {
    port: {
      kind: 'number',
      value: 'N',
      max: 65_535,
      text: `port of /healthz, /readyz and /metrics; default ${PORT}, or any free one if that is taken`,
    },
    host: { kind: 'text', value: 'NAME', text: 'address to listen on; default 127.0.0.1' },
    store: {
      kind: 'text',
      value: 'NAMES',
      text: 'of several stores only these, with commas in between',
    },
    once: { kind: 'flag', text: 'end when nothing that is due is left' },
    'within-ms': {
      kind: 'number',
      value: 'N',
      max: 86_400_000,
      text: `with --once: how long all of that may take, from the start, in milliseconds; default ${WITHIN_MS}`,
    },
    'outlive-npm': { kind: 'flag', text: 'go on when the npm or npx that started it has ended' },
    'no-http': { kind: 'flag', text: 'do not listen' },
    'grace-ms': {
      kind: 'number',
      value: 'N',
      max: 3_600_000,
      text: `how long a stop may take, in milliseconds; default ${GRACE_MS}`,
    },
    verbose: { kind: 'flag', text: 'log more' },
  },
  examples: [
    'mersal relay',
    'mersal relay --host 0.0.0.0 --port 8080',
    'mersal relay --env .env --grace-ms 25000',
    'mersal relay --once --within-ms 20000',
  ],
  run,
}

async function run({ args, out, load, env }: Context): Promise<number> {
  const began = performance.now()
  checkArguments(args)
  const loaded = await load()
  const served = chosenStores(loaded, args)
  checkBrokers(loaded, served)
  const name = loaded.config.name ?? 'relay'
  const logger = relayLogger(out, args.flag('verbose'))
  // From the beginning, so that a signal during the start stops as well.
  const { promise: stop, ask } = stopSignal()
  using _watch = args.flag('outlive-npm')
    ? undefined
    : watchParent(env, () => ask('the end of npm'))
  await using relays = relaysOf(
    served,
    { name, logger, patient: args.flag('once') },
    sharedWindow(served, loaded.config, 'config'),
  )
  const watched = watchedOf(served, relays.served, loaded)
  using metrics = createRelayMetrics(
    () => performance.now(),
    new Map(watched.map(({ relay, labels }) => [relay.app, labels])),
  )
  using once = args.flag('once') ? onceFor(args, { name, logger }, began) : undefined
  // A database that does not answer keeps no signal waiting.
  await Promise.race([relays.start(), stop, ...(once === undefined ? [] : [once.late])])
  const parts = { name, metrics, watched, queues: () => queuesOf(loaded.config, served) }
  const monitor =
    args.flag('no-http') || once !== undefined
      ? undefined
      : await openMonitor(monitorParts(parts), placeOf(args))
  const place = monitor && { metrics: `${monitor.address}/metrics` }
  logger.info(
    { app: name, pid: process.pid, ...place },
    `relay '${name}' runs: ${describe(loaded, served)}`,
  )
  const drained = (await once?.drain(watched, stop)) ?? true
  const signal = once === undefined ? await stop : 'the end of the work'
  logger.info({ app: name, signal }, 'stopping')
  const settled = await relays.stop({ graceMs: args.number('grace-ms') ?? GRACE_MS })
  await monitor?.[Symbol.asyncDispose]()
  const left = settled ? 'everything was settled' : 'what was not settled falls due by itself'
  logger.info({ app: name }, `relay stopped; ${left}`)
  return settled && drained ? exitCodes.ok : exitCodes.failed
}

function checkArguments(args: Context['args']): void {
  noMore(args.positionals, 0)
  if (!args.flag('once') && args.number('within-ms') !== undefined)
    throw new CommandError('--within-ms belongs to --once: give both, or leave it out')
}

/** `began`: when the program did, by `performance.now()`. */
function onceFor(
  args: Context['args'],
  about: Pick<OnceOptions, 'name' | 'logger'>,
  began: number,
): Once {
  const withinMs = args.number('within-ms') ?? WITHIN_MS
  return runOnce({ ...about, withinMs, passedMs: performance.now() - began })
}

function watchedOf(
  served: readonly Served[],
  relays: readonly ServedRelay[],
  { config }: Loaded,
): readonly Watched[] {
  return served.map(({ store, settings: { pollIntervalMs, claimMs, commitLog }, name }, index) => ({
    relay: relays[index] as ServedRelay,
    labels: config.stores === undefined ? {} : { store: name },
    store,
    patienceMs: pollIntervalMs + claimMs + 5000,
    readsLog: commitLog,
  }))
}

/** Where /healthz, /readyz and /metrics listen. */
function placeOf(args: Context['args']): ListenPlace {
  return {
    host: args.text('host') ?? '127.0.0.1',
    port: args.number('port') ?? PORT,
    elsewhere: args.text('port') === undefined,
  }
}

function checkBrokers({ config }: Loaded, served: readonly Served[]): void {
  const without = served.find(({ transports }) => transports.size === 0)
  if (without === undefined) return
  const remedy = `give 'transport' in the configuration, or set ${brokerVariables}`
  throw new CommandError(
    config.stores === undefined
      ? `a relay needs a broker: ${remedy}`
      : `the store '${without.name}' needs a broker: ${remedy}`,
  )
}

function describe({ config, source }: Loaded, served: readonly Served[]): string {
  const transports = new Map(
    served.flatMap((one) =>
      [...one.transports].map(([name, { name: kind }]) => [`${name} (${kind})`, true] as const),
    ),
  )
  const from =
    config.stores === undefined
      ? (served[0]?.store.name ?? '')
      : `${served.length} ${served.length === 1 ? 'store' : 'stores'}`
  return `${from} to ${[...transports.keys()].join(', ')}, by ${source}`
}

const numbers = { SIGINT: 2, SIGTERM: 15 } as const

interface Stop {
  /** Resolves with the first reason. */
  readonly promise: Promise<string>
  readonly ask: (reason: string) => void
}

/** The second signal ends the process. */
function stopSignal(): Stop {
  const { promise, resolve } = Promise.withResolvers<string>()
  let asked = false
  for (const name of ['SIGTERM', 'SIGINT'] as const) {
    process.on(name, () => {
      if (asked) process.exit(128 + numbers[name])
      asked = true
      resolve(name)
    })
  }
  return { promise, ask: resolve }
}
