import type { LoggedRows, LogReader } from '../../core/commit-log.ts'
import type { ClaimedMessage } from '../../core/outbox.ts'
import { linkAbort } from '../../lib/async/linked-abort.ts'
import type { Dispatch } from '../claim/dispatch.ts'
import type { Environment } from '../environment.ts'
import type { Terms } from '../publish/batch.ts'

export interface LogLanePorts {
  readonly environment: Pick<Environment, 'clock'>
  /** Whether rows may go now: running, not slow, settling works. */
  readonly open: () => boolean
  /** Whether the window has room for these. */
  readonly hasRoom: (rows: readonly ClaimedMessage[]) => boolean
  /** Whether these may have that room: destinations that are slow leave some to others. */
  readonly mayTake: (rows: readonly ClaimedMessage[]) => boolean
  readonly dispatch: Pick<Dispatch, 'publish' | 'release'>
  /** There may be rows for a claim. */
  readonly wake: () => void
  /** The relay stops. */
  readonly signal: AbortSignal
}

/** Publishes what the log tells, as the process that committed it would. */
export interface LogLane extends LogReader {
  /** Rows have left the hands of the relay. */
  room(): void
}

/** Between two looks for what the log has told of. */
const AGAIN_MS = 100

/**
 * Rows are born claimed for the log, and published in the first half of that time, as in the
 * express lane. What cannot go is left alone or given back; then a claim takes it. So nothing
 * depends on the log but speed.
 */
export function createLogLane(ports: LogLanePorts): LogLane {
  const { clock } = ports.environment
  let waiter: (() => void) | undefined
  let again = false

  function go(rows: readonly ClaimedMessage[], terms: Terms): 'gone' | 'full' {
    if (!ports.open() || clock.monotonic() >= terms.publishUntil) return 'gone'
    if (!ports.mayTake(rows)) ports.dispatch.release(rows, terms)
    else if (ports.hasRoom(rows)) ports.dispatch.publish(rows, terms)
    else return 'full'
    return 'gone'
  }

  /** Later transactions wait as well: what is not read stays with the server. */
  async function goLater(rows: readonly ClaimedMessage[], terms: Terms): Promise<void> {
    do {
      await roomWithin(terms.publishUntil - clock.monotonic())
    } while (go(rows, terms) === 'full')
  }

  async function roomWithin(ms: number): Promise<void> {
    using link = linkAbort(ports.signal)
    waiter = () => link.abort('room')
    await clock.sleep(ms, link.signal)
    waiter = undefined
  }

  /** The log tells of a commit a moment before a claim can see it, so it looks once more. */
  function others(): void {
    ports.wake()
    if (again) return
    again = true
    void clock.sleep(AGAIN_MS, ports.signal).then(() => {
      again = false
      ports.wake()
    })
  }

  return {
    committed({ rows, leftMs, graceMs }: LoggedRows) {
      const keepUntil = clock.monotonic() + leftMs
      const terms: Terms = {
        startedAt: keepUntil - graceMs,
        publishUntil: keepUntil - graceMs / 2,
        keepUntil,
        express: true,
      }
      return go(rows, terms) === 'full' ? goLater(rows, terms) : undefined
    },
    others,
    room: () => waiter?.(),
  }
}
