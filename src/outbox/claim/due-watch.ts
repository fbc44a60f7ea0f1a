import { errorFields } from '../../core/errors/error-text.ts'
import type { Upcoming, WaitingRows } from '../../core/outbox.ts'
import type { Environment } from '../environment.ts'
import { createBell } from './bell.ts'
import type { DueRow, Told } from './due-times.ts'

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
  readonly waiting: Pick<WaitingRows<never>, 'upcoming'> | undefined
  readonly pollIntervalMs: number
  /** These rows fall due next. */
  readonly onRows: (told: Told, now: number) => void
}

/**
 * Rows of one answer: as many as show what falls due in a short time to come. Hints come up to
 * fifty times a second, and each is a question, so that none asks for more.
 */
const [FEW_ROWS, MOST_ROWS] = [20, 500]
/**
 * Milliseconds before the last row of a full answer falls due: then the next rows are asked for. An
 * answer is to show twice this time.
 */
const AHEAD_MS = 250
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

  async function run(
    storage: Pick<WaitingRows<never>, 'upcoming'>,
    signal: AbortSignal,
  ): Promise<void> {
    signal.addEventListener('abort', () => bell.nudge(), { once: true })
    let limit = MOST_ROWS
    while (!signal.aborted) {
      bell.clear()
      const startedAt = clock.monotonic()
      const { againAt, rows } = await ask(ports, storage, limit)
      limit = rows
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

/** The next question: when to ask it without a hint, and for how many rows. */
interface Next {
  readonly againAt: number
  readonly rows: number
}

async function ask(
  { environment, pollIntervalMs, onRows }: DueWatchPorts,
  storage: Pick<WaitingRows<never>, 'upcoming'>,
  limit: number,
): Promise<Next> {
  const { app, clock, logger } = environment
  try {
    const askedAt = clock.monotonic()
    const found = await storage.upcoming({ limit })
    const now = clock.monotonic()
    const rows = rowsFrom(found, now)
    const earlier = now - askedAt > SLOW_MS ? rowsFrom(found, askedAt) : []
    const last = found.length < limit ? undefined : found.at(-1)
    const behind = last && { ...rowAt(last, now), earliest: askedAt + last.inMs }
    onRows({ rows: [...rows, ...earlier], behind }, now)
    const next = nextAfter(found, limit, now - askedAt)
    const againMs = Math.min(next.inMs, pollIntervalMs * RARE_POLLS)
    return { againAt: now + againMs, rows: next.rows }
  } catch (thrown) {
    // The claims tell people of a storage that does not answer.
    const text =
      'the outbox storage could not say when delayed messages fall due; asked again later'
    logger.debug({ app, ...errorFields(thrown) }, text)
    return { againAt: clock.monotonic() + pollIntervalMs, rows: limit }
  }
}

function nextAfter(
  found: readonly Upcoming[],
  limit: number,
  tookMs: number,
): { readonly inMs: number; readonly rows: number } {
  // The next question may have to wait for the one before, and its answer takes its time.
  const aheadMs = AHEAD_MS + tookMs * (GAP_FACTOR + 2)
  const reachMs = found.length < limit ? Infinity : (found.at(-1)?.inMs ?? Infinity)
  if (reachMs > aheadMs) {
    const soon = found.filter(({ inMs }) => inMs <= 2 * aheadMs).length
    return { inMs: reachMs - aheadMs, rows: Math.max(FEW_ROWS, Math.min(MOST_ROWS, soon)) }
  }
  return { inMs: limit < MOST_ROWS ? 0 : halfway(found), rows: MOST_ROWS }
}

const halfway = (found: readonly Upcoming[]): number => found[found.length >> 1]?.inMs ?? 0

/** By a storage that read its clock at this time. */
const rowsFrom = (found: readonly Upcoming[], readAt: number): DueRow[] =>
  found.map((row) => rowAt(row, readAt))

const rowAt = ({ position, inMs }: Upcoming, readAt: number): DueRow => ({
  position,
  at: readAt + inMs,
})
