import type { OutboxOverview } from '../../core/operations.ts'
import { toError } from '../../lib/async/abort.ts'
import { systemClock } from '../../lib/async/clock.ts'
import type { ServedStore } from '../../outbox/many-stores/relays-options.ts'
import { openStore, operation } from '../config/access.ts'
import type { ToolStore } from '../config/config.ts'
import { describeError } from '../../operate/describe-error.ts'
import { exitCodes } from '../exit.ts'
import type { Loaded } from '../config/load-config.ts'
import { duration, type Output, table } from '../output.ts'
import {
  deadLettersLine,
  incomingJson,
  problemLines,
  queuesOf,
  type TransportQueues,
} from '../../operate/queues.ts'
import { estimatedNote } from './estimated.ts'
import type { Context } from '../verb.ts'

interface Line {
  readonly store: string
  readonly overview: OutboxOverview | undefined
  /** Why it could not be asked. */
  readonly problem: string | undefined
}

/**
 * One line for each store; one that does not answer says so, and holds up none of the others. Exit
 * code 1 if there was one.
 */
export async function statusOfStores(
  { served, config }: Loaded,
  { args, out }: Context,
): Promise<number> {
  const stop = new AbortController()
  const onSignal = (): void => stop.abort()
  process.once('SIGINT', onSignal).once('SIGTERM', onSignal)
  const watch = args.flag('watch')
  for (;;) {
    const lines = await Promise.all(served.map(look))
    const queues = await queuesOf(config, served)
    if (args.flag('json'))
      out.json({
        at: new Date().toISOString(),
        stores: lines.map(jsonOf),
        incoming: incomingJson(queues),
      })
    else show(lines, queues, out, watch)
    if (watch) await systemClock.sleep((args.number('interval') ?? 2) * 1000, stop.signal)
    if (!watch || stop.signal.aborted)
      return lines.some(({ problem }) => problem !== undefined) ? exitCodes.failed : exitCodes.ok
  }
}

async function look(served: ServedStore<ToolStore>): Promise<Line> {
  try {
    const overview = operation(served.store, 'overview', 'status')
    await openStore(served)
    return { store: served.name, overview: await overview({ keys: 0 }), problem: undefined }
  } catch (thrown) {
    return { store: served.name, overview: undefined, problem: describeError(toError(thrown)) }
  }
}

function show(
  lines: readonly Line[],
  queues: readonly TransportQueues[],
  out: Output,
  watch: boolean,
): void {
  if (watch) out.clear()
  const head = ['store', 'pending', 'due', 'claimed', 'dead', 'kept', 'oldest', 'overdue', '']
  const rows = lines.map(({ store, overview, problem = '' }) => {
    if (overview === undefined) return [store, '', '', '', '', '', '', '', problem]
    const { pending, due, claimed, dead, kept, oldestMs, oldestDueMs } = overview
    return [
      store,
      ...[pending, due, claimed, dead, kept].map(String),
      duration(oldestMs),
      duration(oldestDueMs),
      '',
    ]
  })
  for (const line of table([head, ...rows], [1, 2, 3, 4, 5, 6, 7])) out.line(line)
  const read = lines.find(({ overview }) => overview?.rowsRead !== undefined)?.overview?.rowsRead
  if (read !== undefined) out.note(estimatedNote(read))
  const incoming = deadLettersLine(queues)
  if (incoming !== undefined) out.line(incoming)
  for (const problem of problemLines(queues)) out.note(`mersal: ${problem}`)
}

function jsonOf({ store, overview, problem }: Line): object {
  if (overview === undefined) return { store, error: problem }
  const { added: _added, keys: _keys, ...counts } = overview
  return { store, ...counts }
}
