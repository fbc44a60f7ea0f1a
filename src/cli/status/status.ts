import type { OutboxOverview, Pause, StoreOperations } from '../../core/operations.ts'
import { systemClock } from '../../lib/async/clock.ts'
import { chosenStore, noMore, openStore, operation, storeOption } from '../config/access.ts'
import { exitCodes } from '../exit.ts'
import { jsonOption } from '../help.ts'
import { duration, isoTime, type Output, table } from '../output.ts'
import {
  deadLettersLine,
  incomingJson,
  problemLines,
  queuesOf,
  type TransportQueues,
} from '../../operate/queues.ts'
import { estimatedNote } from './estimated.ts'
import { statusOfStores } from './status-stores.ts'
import type { Context, Verb } from '../verb.ts'

export const status: Verb = {
  name: 'status',
  summary: 'what waits in the outbox, for how long, and how fast it moves',
  usage: ['status [--store NAME] [--json] [--watch]'],
  text: `oldest: age of the oldest message that is not confirmed.
overdue: how long the oldest due message has been waiting.
behind: the same without messages that are paused or wait for an earlier one of their key.

Rates are measured over one second. Of a large outbox 100,000 rows are read, and the rest is estimated.
With several stores and without --store, it shows one line for each.`,
  options: {
    ...jsonOption,
    ...storeOption,
    watch: {
      kind: 'flag',
      short: 'w',
      text: 'look again and again until Ctrl-C; with --json one object per line',
    },
    interval: {
      kind: 'number',
      value: 'SECONDS',
      min: 1,
      max: 3600,
      text: 'time between two looks of --watch; default 2',
    },
    keys: {
      kind: 'number',
      value: 'N',
      max: 1000,
      text: 'show at most N keys, blocked ones and the oldest first; default 10',
    },
    quick: { kind: 'flag', text: 'one look only, without rates' },
  },
  examples: [
    'mersal status',
    'mersal status --json --quick | jq .pending',
    'mersal status --watch --interval 5',
  ],
  run,
}

/** One look, by the monotonic clock. */
interface Look {
  readonly at: number
  readonly overview: OutboxOverview
}

/** Messages per second between two looks. */
interface Rates {
  readonly added: number
  readonly left: number
}

interface Report {
  readonly at: string
  readonly store: string
  readonly overview: OutboxOverview
  readonly rates: Rates | undefined
  readonly pauses: readonly Pause[]
  /** Queues of consumers. */
  readonly queues: readonly TransportQueues[]
}

async function run(context: Context): Promise<number> {
  const { args, out, load } = context
  noMore(args.positionals, 0)
  const loaded = await load()
  if (loaded.served.length > 1 && args.text('store') === undefined)
    return await statusOfStores(loaded, context)
  const served = chosenStore(loaded, args)
  const overview = operation(served.store, 'overview', 'status')
  const store = await openStore(served)
  const look = async (): Promise<Look> => ({
    at: systemClock.monotonic(),
    overview: await overview({ keys: args.number('keys') ?? 10 }),
  })
  const stop = untilSignal()
  const watch = args.flag('watch')
  const intervalMs = watch ? (args.number('interval') ?? 2) * 1000 : 1000
  let before: Look | undefined
  if (!args.flag('quick') && !watch) {
    before = await look()
    await systemClock.sleep(intervalMs, stop)
  }
  for (;;) {
    const now = await look()
    const report = {
      at: new Date().toISOString(),
      store: store.name,
      overview: now.overview,
      rates: ratesOf(before, now),
      pauses: await pausesOf(store.operations),
      queues: await queuesOf(loaded.config, [served], { counted: now.overview }),
    }
    show(report, out, { json: args.flag('json'), watch })
    before = now
    if (watch) await systemClock.sleep(intervalMs, stop)
    if (!watch || stop.aborted) return exitCodes.ok
  }
}

/** Aborts at Ctrl-C, or when the program is asked to end. */
function untilSignal(): AbortSignal {
  const stop = new AbortController()
  const onSignal = (): void => stop.abort()
  process.once('SIGINT', onSignal).once('SIGTERM', onSignal)
  return stop.signal
}

async function pausesOf(operations: StoreOperations | undefined): Promise<readonly Pause[]> {
  return (await operations?.pauses?.list()) ?? []
}

function ratesOf(before: Look | undefined, { at, overview }: Look): Rates | undefined {
  if (before === undefined || overview.added === undefined || before.overview.added === undefined)
    return undefined
  const seconds = Math.max((at - before.at) / 1000, 0.001)
  const added = overview.added - before.overview.added
  const grown = overview.pending + overview.dead - before.overview.pending - before.overview.dead
  const round = (count: number): number => Math.round((Math.max(0, count) / seconds) * 10) / 10
  return { added: round(added), left: round(added - grown) }
}

function show(
  report: Report,
  out: Output,
  { json, watch }: { readonly json: boolean; readonly watch: boolean },
): void {
  if (json) return out.json(jsonOf(report))
  if (watch) out.clear()
  const { at, store, overview, rates, pauses, queues } = report
  const { pending, due, claimed, dead, kept, refused = 0, waitingMs } = overview
  out.line(`${store}, ${at}`)
  const tried = refused === 0 ? '' : `, refused so far ${refused}`
  out.line(
    `pending ${pending} (due ${due}, claimed ${claimed}${tried}), dead ${dead}, kept ${kept}`,
  )
  if (overview.rowsRead !== undefined) out.note(estimatedNote(overview.rowsRead))
  const incoming = deadLettersLine(queues)
  if (incoming !== undefined) out.line(incoming)
  for (const problem of problemLines(queues)) out.note(`mersal: ${problem}`)
  const behind = waitingMs === undefined ? '' : `, behind ${duration(waitingMs)}`
  out.line(
    `oldest ${duration(overview.oldestMs)}, overdue ${duration(overview.oldestDueMs)}${behind}${rates === undefined ? '' : `, added ${rates.added}/s, left ${rates.left}/s`}`,
  )
  showDestinations(overview, pauses, out)
  showKeys(overview, pauses, out)
  for (const { kind, name, since, reason } of pauses) {
    out.line(`paused ${kind} ${name} since ${isoTime(since)}${reason === '' ? '' : `: ${reason}`}`)
  }
}

function showDestinations(
  { destinations }: OutboxOverview,
  pauses: readonly Pause[],
  out: Output,
): void {
  if (destinations.length === 0) return
  const head = ['destination', 'pending', 'due', 'claimed', 'dead', 'oldest', 'overdue', '']
  const rows = destinations.map((row) => [
    row.destination,
    ...[row.pending, row.due, row.claimed, row.dead].map(String),
    duration(row.oldestMs),
    duration(row.oldestDueMs),
    pauses.some(({ kind, name }) => kind === 'destination' && name === row.destination)
      ? 'paused'
      : '',
  ])
  out.line()
  for (const line of table([head, ...rows], [1, 2, 3, 4, 5, 6])) out.line(line)
}

function showKeys({ keys }: OutboxOverview, pauses: readonly Pause[], out: Output): void {
  if (keys.length === 0) return
  const rows = keys.map(({ key, pending, oldestMs, blocked }) => {
    const paused = pauses.some(({ kind, name }) => kind === 'key' && name === key)
    return [
      key,
      String(pending),
      duration(oldestMs),
      [blocked ? 'blocked by a dead letter' : '', paused ? 'paused' : '']
        .filter(Boolean)
        .join(', '),
    ]
  })
  out.line()
  for (const line of table([['key', 'pending', 'oldest', ''], ...rows], [1, 2])) out.line(line)
}

function jsonOf({ at, store, overview, rates, pauses, queues }: Report): object {
  const { added: _, destinations, keys, ...counts } = overview
  return {
    at,
    store,
    ...counts,
    rates: rates ?? null,
    destinations,
    keys,
    pauses,
    incoming: incomingJson(queues),
  }
}
