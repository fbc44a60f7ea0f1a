import type { CommitLog, LogReader } from '../../../src/core/commit-log.ts'
import type { ClaimedMessage } from '../../../src/core/outbox.ts'
import type { Owner, Scheduler } from '../scheduler.ts'

/** Rows of one commit, born claimed for the log until `visibleAt`. */
export interface LoggedCommit {
  readonly rows: readonly ClaimedMessage[]
  readonly visibleAt: number
  readonly graceMs: number
}

/** The log of the database: what is committed while somebody reads it, in that order. */
export interface SimulatedLog {
  /** Somebody reads. */
  readonly followed: boolean
  committed(commit: LoggedCommit): void
  /** As one process sees it; `hold` is told what it gets. */
  of(owner: Owner, hold: (rows: readonly ClaimedMessage[]) => void): Pick<CommitLog, 'follow'>
}

interface Holder {
  readonly owner: Owner
  readonly reader: LogReader
  readonly hold: (rows: readonly ClaimedMessage[]) => void
  readonly queue: LoggedCommit[]
  pumping: boolean
  seenAt: number
}

/** The server ends the connection of a reader that has said nothing for as long. */
const SILENCE_MS = 400
const LOOK_MS = 40

/** `drops`: how likely it is, each time that is looked, that the connection of the reader breaks. */
export function createSimulatedLog(scheduler: Scheduler, drops: () => number): SimulatedLog {
  let holder: Holder | undefined

  /** What has been sent is in the hands of its reader, even if that has stood still meanwhile. */
  async function pump(to: Holder): Promise<void> {
    to.pumping = true
    for (let next = to.queue.shift(); next !== undefined; next = to.queue.shift()) {
      await scheduler.sleep(scheduler.between(0, 4), to.owner)
      to.hold(next.rows)
      const leftMs = next.visibleAt - scheduler.now - scheduler.between(0, 5)
      await to.reader.committed({ rows: next.rows, leftMs, graceMs: next.graceMs })
    }
    to.pumping = false
  }

  const isFree = (): boolean =>
    holder === undefined ||
    !holder.owner.alive ||
    (holder.owner.pausedUntil > scheduler.now && scheduler.now - holder.seenAt > SILENCE_MS)

  async function follow(mine: Holder, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      if (isFree()) {
        holder = mine
        mine.reader.others()
      }
      if (holder === mine) mine.seenAt = scheduler.now
      await scheduler.sleep(LOOK_MS, mine.owner, signal)
      if (holder === mine && scheduler.chance(drops())) {
        holder = undefined
        if (scheduler.chance(0.5)) mine.queue.length = 0
      }
    }
    if (holder === mine) holder = undefined
  }

  return {
    get followed() {
      return !isFree()
    },
    committed(commit) {
      if (holder === undefined || !holder.owner.alive) return
      holder.queue.push(commit)
      if (!holder.pumping) void pump(holder)
    },
    of: (owner, hold) => ({
      follow: (reader, { signal }) =>
        follow({ owner, reader, hold, queue: [], pumping: false, seenAt: scheduler.now }, signal),
    }),
  }
}
