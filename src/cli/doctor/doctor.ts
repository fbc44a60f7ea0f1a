import { dirname } from 'node:path'
import type { Finding, OutboxOverview } from '../../core/operations.ts'
import type { Transport } from '../../core/transport.ts'
import {
  chosenStores,
  labelOf,
  noMore,
  schemasOf,
  type Served,
  storeOption,
} from '../config/access.ts'
import { examineOutbox, examineQueues } from './doctor-messages.ts'
import { examinePackages } from './doctor-packages.ts'
import { attempt, oneFaultEach } from './one-fault.ts'
import { brokerVariables } from '../adapters.ts'
import { exitCodes } from '../exit.ts'
import { jsonOption } from '../help.ts'
import type { Loaded } from '../config/load-config.ts'
import { countOf, type Output } from '../output.ts'
import { queuesOf } from '../../operate/queues.ts'
import type { Context, Verb } from '../verb.ts'

export const doctor: Verb = {
  name: 'doctor',
  summary: 'examine Node, clients, database and broker, and say how to fix what is wrong',
  usage: ['doctor [--queue NAMES] [--json]'],
  text: `Changes nothing. The exit code is 3 if it finds a fault; warnings leave it at 0. It also reports
messages that do not get through: refused ones, dead letters of relays and consumers, keys that these
hold back, queues that nobody reads.`,
  options: {
    ...jsonOption,
    ...storeOption,
    queue: {
      kind: 'text',
      value: 'NAMES',
      text: 'queues that must exist on the main transport, with commas in between',
    },
  },
  examples: [
    'mersal doctor',
    'mersal doctor --queue billing,shipping',
    'mersal doctor --json | jq \'.findings[] | select(.level == "fault")\'',
  ],
  run,
}

async function run({ args, out, cwd, load }: Context): Promise<number> {
  noMore(args.positionals, 0)
  const loaded = await load()
  const base = loaded.source === 'the environment' ? cwd : dirname(loaded.source)
  const asked = (args.text('queue') ?? '').split(',').filter(Boolean)
  const chosen = chosenStores(loaded, args)
  const all = [...examinePackages(loaded, base), ...(await tables(loaded, chosen))]
  const waiting: Waiting = new Map()
  for (const one of chosen) all.push(...(await examineStore(loaded, one, waiting)))
  for (const [transport, { name, places }] of waiting)
    all.push(...(await broker(name, transport, { asked, waiting: places })))
  // A broker that does not answer has been told of above.
  const queues = await queuesOf(loaded.config, chosen, { asked })
  all.push(...examineQueues(queues.filter(({ problem }) => problem === undefined)))
  const findings = oneFaultEach(all, loaded.config.stores !== undefined)
  show(findings, out, args.flag('json'))
  return findings.some(({ level }) => level === 'fault') ? exitCodes.checkSaysNo : exitCodes.ok
}

/** The store first: what waits there says which queues its transports need. */
async function examineStore(
  loaded: Loaded,
  served: Served,
  waiting: Waiting,
): Promise<readonly Finding[]> {
  const { store, transports, settings } = served
  const label = labelOf(loaded, served)
  const found = await attempt(store.name, async () => (await store.operations?.examine?.()) ?? [])
  const log = settings.commitLog ? store.commitLog : undefined
  const logged = log === undefined ? [] : await attempt('commit log', () => log.examine())
  const overview = await overviewOf(served)
  const places = placesOf(overview)
  for (const [name, transport] of transports) {
    const known = waiting.get(transport) ?? { name, places: [] }
    known.places.push(...places)
    waiting.set(transport, known)
  }
  const findings = [
    ...found,
    ...logged,
    ...(overview === undefined ? [] : examineOutbox(overview)),
    ...missingTransports(served, places),
  ]
  return findings.map((finding) => ({ ...finding, subject: `${label}${finding.subject}` }))
}

/** Transports that the configuration does not have, although messages wait for them. */
function missingTransports({ transports }: Served, places: readonly Place[]): readonly Finding[] {
  const remedy = `give 'transport', or set ${brokerVariables}`
  const unknown = places.filter(({ transport }) => !transports.has(transport))
  const findings = unknown.map(
    ({ transport }): Finding => ({
      level: 'fault',
      subject: `transport '${transport}'`,
      text: 'messages wait for it, and the configuration does not know it',
      remedy: transport === 'default' ? remedy : "give it in 'bridges'",
    }),
  )
  if (transports.size > 0) return findings
  const text = 'the configuration has none'
  return [{ level: 'warning', subject: 'broker', text, remedy }, ...findings]
}

async function tables(loaded: Loaded, chosen: readonly Served[]): Promise<readonly Finding[]> {
  const found = await Promise.all(
    schemasOf(loaded, chosen).map((schema) =>
      attempt(schema.name, async () => {
        const { current, newest } = await schema.version()
        if (current === newest)
          return [{ level: 'ok', subject: schema.name, text: `up to date (version ${current})` }]
        return [
          {
            level: 'fault',
            subject: schema.name,
            text: `version ${current} of ${newest}`,
            remedy: "run 'mersal migrate'",
          },
        ]
      }),
    ),
  )
  return found.flat()
}

/** The overview lists blocked keys first. */
const BLOCKED_KEYS = 100

type Waiting = Map<Transport, { readonly name: string; readonly places: Place[] }>

interface Place {
  readonly transport: string
  readonly kind: string
  readonly name: string
}

/** What waits; undefined if that cannot be told, which another finding says. */
async function overviewOf({ store }: Served): Promise<OutboxOverview | undefined> {
  const { schema, overview } = store.operations ?? {}
  try {
    const version = await schema?.version()
    if (overview === undefined || version?.current !== version?.newest) return undefined
    return await overview({ keys: BLOCKED_KEYS })
  } catch {
    return undefined
  }
}

function placesOf(overview: OutboxOverview | undefined): readonly Place[] {
  return (overview?.destinations ?? []).map(({ destination }) => {
    const [transport = '', kind = '', ...name] = destination.split('/')
    return { transport, kind, name: name.join('/') }
  })
}

interface Expected {
  readonly asked: readonly string[]
  readonly waiting: readonly Place[]
}

async function broker(
  name: string,
  transport: Transport,
  { asked, waiting }: Expected,
): Promise<readonly Finding[]> {
  const examine = transport.operations?.examine
  if (examine === undefined) return []
  const needed = waiting
    .filter((place) => place.transport === name && place.kind === 'queue')
    .map((place) => place.name)
  const queues = [...new Set([...(name === 'default' ? asked : []), ...needed])]
  return await attempt(`transport '${name}' (${transport.name})`, () => examine({ queues }))
}

const marks = { ok: 'ok     ', warning: 'WARNING', fault: 'FAULT  ' } as const

function show(findings: readonly Finding[], out: Output, json: boolean): void {
  const count = (level: Finding['level']): number =>
    findings.filter((finding) => finding.level === level).length
  if (json)
    return out.json({
      healthy: count('fault') === 0,
      faults: count('fault'),
      warnings: count('warning'),
      findings,
    })
  for (const { level, subject, text, remedy } of findings) {
    out.line(`${marks[level]}  ${subject}: ${text}`)
    if (remedy !== undefined) out.line(`         → ${remedy}`)
  }
  out.line(`${countOf(count('fault'), 'fault')}, ${countOf(count('warning'), 'warning')}`)
}
