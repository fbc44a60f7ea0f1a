import { errorFields } from '../../core/errors/error-text.ts'
import type { Upcoming, WaitingRows } from '../../core/outbox.ts'
import type { Environment } from '../environment.ts'
import { createBell } from './bell.ts'
import type { DueRow } from './due-times.ts'

/** Learns when delayed messages fall due, so that each leaves at its time and not with a poll. */
export interface DueWatch {
  /** Messages may have been added. Cheap. */
  hint(): void
  /** Asks now and then, until the signal aborts. Never rejects. */
  run(signal: AbortSignal): Promise<void>
}

export interface DueWatchPorts {
  readonly environment: Pick<Environment, 'app' | 'clock' | 'logger'>
  /** Undefined: the storage cannot tell. */
  readonly waiting: WaitingRows | undefined
  readonly pollIntervalMs: number
  /** These rows fall due next. */
  readonly onRows: (told: Told, now: number) => void
}

export interface Told {
  readonly rows: readonly DueRow[]
  /** There may be more behind this one. */
  readonly behind: DueRow | undefined
}

/** Rows of one answer. When half of them have fallen due, the next ones are asked for. */
const MOST_ROWS = 500
/** However many hints there are, no question follows the one before sooner than this. */
const LEAST_GAP_MS = 20
/** And questions take at most a fifth of the time. */
const GAP_FACTOR = 4
/**
 * The storage has read its clock between the question and the answer. If that took longer than
 * this, the rows are looked at twice: at the earliest time and at the latest.
 */
const SLOW_MS = 10
/** Without any hint: for messages of programs that give none. In poll intervals. */
const RARE_POLLS = 5

export function createDueWatch(ports: DueWatchPorts): DueWatch {
  const { clock } = ports.environment
  const { waiting } = ports
  const bell = createBell(clock)

  async function run(storage: WaitingRows, signal: AbortSignal): Promise<void> {
    signal.addEventListener('abort', () => bell.nudge(), { once: true })
    while (!signal.aborted) {
      bell.clear()
      const startedAt = clock.monotonic()
      const againAt = await ask(ports, storage)
      const gapMs = (clock.monotonic() - startedAt) * GAP_FACTOR
      await clock.sleep(Math.max(LEAST_GAP_MS, Math.min(gapMs, ports.pollIntervalMs)), signal)
      if (!signal.aborted) await bell.wait(againAt - clock.monotonic())
    }
  }

  return {
    hint: () => bell.hint(),
    run: async (signal) => {
      if (waiting !== undefined) await run(waiting, signal)
    },
  }
}

/** Returns when to ask again. */
async function ask(
  { environment, pollIntervalMs, onRows }: DueWatchPorts,
  storage: WaitingRows,
): Promise<number> {
  const { app, clock, logger } = environment
  const rarely = pollIntervalMs * RARE_POLLS
  try {
    const askedAt = clock.monotonic()
    const found = await storage.upcoming({ limit: MOST_ROWS })
    const now = clock.monotonic()
    const rows = rowsFrom(found, now)
    const earlier = now - askedAt > SLOW_MS ? rowsFrom(found, askedAt) : []
    // Those behind the last of a full answer may fall due with it.
    const behind = found.length < MOST_ROWS ? undefined : rows.at(-1)
    onRows({ rows: [...rows, ...earlier], behind }, now)
    return Math.min(now + rarely, found.length < MOST_ROWS ? Infinity : now + halfway(found))
  } catch (thrown) {
    // The claims tell people of a storage that does not answer.
    const text =
      'the outbox storage could not say when delayed messages fall due; asked again later'
    logger.debug({ app, ...errorFields(thrown) }, text)
    return clock.monotonic() + pollIntervalMs
  }
}

const halfway = (found: readonly Upcoming[]): number => found[found.length >> 1]?.inMs ?? 0

/** By a storage that read its clock at this time. */
const rowsFrom = (found: readonly Upcoming[], readAt: number): DueRow[] =>
  found.map(({ position, inMs }) => ({ position, at: readAt + inMs }))
