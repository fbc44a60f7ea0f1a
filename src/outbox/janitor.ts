import type { OutboxStorage } from '../core/outbox.ts'
import { checkNumber, checkOptions } from '../core/options.ts'
import type { Logger } from '../core/telemetry.ts'
import type { MessageTracker } from '../core/tracker.ts'
import type { Clock } from '../lib/async/clock.ts'
import { errorFields } from '../core/errors/error-text.ts'
import { offsetOf } from './clock/clock-readings.ts'
import type { Relay } from './types.ts'

/** How the janitor works. Times are in milliseconds. */
export interface JanitorOptions {
  /** Time between two rounds. Default 60000. */
  readonly intervalMs?: number
  /** Rows removed by one statement. Default 1000. */
  readonly batchSize?: number
}

export interface JanitorPorts {
  readonly app: string
  readonly storage?: Pick<OutboxStorage<never>, 'prune' | 'clock'> | undefined
  /** The tracker, and how long its records are kept. */
  readonly inbox?:
    | {
        readonly tracker: Pick<MessageTracker<never>, 'prune' | 'now'>
        readonly retentionMs: number
      }
    | undefined
  /** Answers of requests, in the database of the storage. */
  readonly once?: { prune(limit: number, longerMs: number): Promise<number> } | undefined
  readonly clock: Clock
  readonly logger: Logger
  readonly options?: JanitorOptions
}

/** Starts a relay, then the janitor of its tables. Resolves when the janitor has ended. */
export function startWithJanitor(
  relay: Pick<Relay, 'start'>,
  janitor: JanitorPorts,
  options: { readonly signal: AbortSignal },
): Promise<void> {
  relay.start()
  return runJanitor(janitor, options)
}

type Prune = (limit: number, longerMs: number) => Promise<number>

interface Task {
  readonly table: string
  readonly prune: Prune
  /** The clock of the rows. */
  readonly read: (() => Promise<number>) | undefined
}

/**
 * Removes kept outbox rows and inbox records whose retention is over, in bounded batches, once at
 * the start and then in every interval. Resolves when the signal has aborted and the statement in
 * progress is done; never rejects. Throws `MERSAL_INVALID_OPTIONS` at once on bad options.
 */
export function runJanitor(
  ports: JanitorPorts,
  { signal }: { readonly signal: AbortSignal },
): Promise<void> {
  const options = ports.options ?? {}
  checkOptions('janitor', options, ['intervalMs', 'batchSize'])
  const intervalMs = checkNumber('janitor.intervalMs', options.intervalMs, {
    default: 60_000,
    min: 100,
    max: 86_400_000,
  })
  const limit = checkNumber('janitor.batchSize', options.batchSize, {
    default: 1000,
    min: 1,
    max: 100_000,
  })
  const tasks = tasksOf(ports)
  if (tasks.length === 0) return Promise.resolve()
  return loop(ports, tasks, { intervalMs, limit, signal })
}

function tasksOf({ storage, inbox, once }: JanitorPorts): Task[] {
  const tasks: Task[] = []
  if (storage !== undefined) {
    const { clock } = storage
    const prune: Prune = (limit, longerMs) =>
      storage.prune({ limit, ...(longerMs > 0 ? { longerMs } : {}) })
    const read = clock === undefined ? undefined : async () => (await clock.read()).now
    tasks.push({ table: 'outbox', prune, read })
    if (once !== undefined)
      tasks.push({ table: 'once', prune: (limit, ms) => once.prune(limit, ms), read })
  }
  if (inbox !== undefined) {
    const { tracker, retentionMs } = inbox
    const prune: Prune = (limit, longerMs) =>
      tracker.prune({ olderThanMs: retentionMs + longerMs, limit })
    tasks.push({ table: 'inbox', prune, read: tracker.now?.bind(tracker) })
  }
  return tasks
}

interface Rounds {
  readonly intervalMs: number
  readonly limit: number
  readonly signal: AbortSignal
}

async function loop(ports: JanitorPorts, tasks: readonly Task[], rounds: Rounds): Promise<void> {
  const failing = new Set<string>()
  const timed = tasks.map(({ table, prune, read }) => ({
    table,
    prune,
    longerMs: forwardOf(ports.clock, read),
  }))
  while (!rounds.signal.aborted) {
    for (const { table, prune, longerMs } of timed) {
      try {
        const removed = await sweep(async (limit) => prune(limit, await longerMs()), rounds)
        if (removed > 0)
          ports.logger.debug(
            { app: ports.app, table, removed },
            'rows whose retention is over were removed',
          )
        if (failing.delete(table))
          ports.logger.info(
            { app: ports.app, table },
            'rows whose retention is over can be removed again',
          )
      } catch (thrown) {
        if (!failing.has(table))
          ports.logger.warn(
            { app: ports.app, table, ...errorFields(thrown) },
            'removing rows whose retention is over failed; it is tried again in the next round',
          )
        failing.add(table)
      }
    }
    await ports.clock.sleep(rounds.intervalMs, rounds.signal)
  }
}

/**
 * How far the clock of the rows has been set forward while this process ran, at least, in
 * milliseconds. Rows are kept longer by it: they are younger than that clock makes them.
 */
function forwardOf(clock: Clock, read: (() => Promise<number>) | undefined): () => Promise<number> {
  let lowest = Infinity
  return async () => {
    if (read === undefined) return 0
    const { least, most } = await offsetOf(clock, async () => ({ now: await read() }))
    lowest = Math.min(lowest, most)
    return Math.max(0, least - lowest)
  }
}

/** Removes batch after batch until one comes back short. */
async function sweep(
  prune: (limit: number) => Promise<number>,
  { limit, signal }: Rounds,
): Promise<number> {
  let total = 0
  while (!signal.aborted) {
    const removed = await prune(limit)
    total += removed
    if (removed < limit) break
  }
  return total
}
