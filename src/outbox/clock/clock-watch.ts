import { errorFields } from '../../core/errors/error-text.ts'
import { SET_ASIDE_MS } from '../../core/outbox.ts'
import { type LawfulWaits, STEADY_MS, type StorageClock } from '../../core/storage-clock.ts'
import type { Environment } from '../environment.ts'
import { moved, type Offset, offsetOf } from './clock-readings.ts'
import type { RelaySettings } from '../options.ts'
import { longestRetryMs } from '../type-retries.ts'

export interface ClockWatchPorts {
  readonly environment: Pick<Environment, 'app' | 'clock' | 'logger'>
  /** Undefined: the storage goes by a clock that nobody sets. */
  readonly storage: StorageClock | undefined
  readonly settings: Pick<
    RelaySettings,
    'claimMs' | 'expressGraceMs' | 'maxAttempts' | 'retry' | 'retries' | 'breaker'
  >
  /** Rows have become due. */
  readonly onDue: () => void
}

const LOOK_MS = 5000

/**
 * Watches the clock of the storage beside the claims, until the signal aborts. What waits for a
 * time that a clock set back has moved away is put right. Order and fences need no clock: a wrong
 * look costs copies at most.
 */
export async function watchClock(ports: ClockWatchPorts, signal: AbortSignal): Promise<void> {
  const { environment, storage } = ports
  const { app, clock, logger } = environment
  if (storage === undefined) return
  const look = looks(ports, storage)
  while (!signal.aborted) {
    try {
      await look()
    } catch (thrown) {
      // The claims tell people of a storage that does not answer.
      logger.debug(
        { app, ...errorFields(thrown) },
        'the clock of the outbox storage could not be read; it is looked at again',
      )
    }
    await clock.sleep(LOOK_MS, signal)
  }
}

interface Seen extends Offset {
  /** By the difference to our own clock, which another look has to show as well; below 0: back. */
  readonly step: number
  readonly ahead: number
}

const isBack = ({ step, ahead }: Seen): boolean => step < -STEADY_MS || ahead > STEADY_MS
const isForward = ({ step }: Seen): boolean => step > STEADY_MS

function looks(
  { environment, settings, onDue }: ClockWatchPorts,
  storage: StorageClock,
): () => Promise<void> {
  const { app, clock, logger } = environment
  const claimMs = Math.max(settings.claimMs, settings.expressGraceMs)
  const retryMs = Math.max(longestRetryMs(settings), settings.breaker.longestMs, SET_ASIDE_MS)
  let known: Offset | undefined
  /** The clock was set back by this, and rows may still have to be corrected. */
  let pending: LawfulWaits | undefined
  let wasAhead = false

  async function see(): Promise<Seen> {
    const { least, most, answer } = await offsetOf(clock, () => storage.read())
    const step = known === undefined ? 0 : moved(known, { least, most })
    return { least, most, step, ahead: answer.ahead }
  }

  function tell(seen: Seen): void {
    if (isForward(seen)) {
      const text =
        'the clock of the outbox storage was set forward: claims have ended early and delayed messages come early'
      logger.warn({ app, forwardMs: Math.round(seen.step) }, text)
    }
    if (!isBack(seen)) return
    const backMs = Math.round(Math.max(-seen.step, seen.ahead))
    const text =
      'the clock of the outbox storage was set back; messages that would wait for it to catch up are put right'
    // A row that cannot be put right is told once.
    if (seen.step < -STEADY_MS || !wasAhead) logger.warn({ app, backMs }, text)
    pending = { backMs: Math.max(0, -seen.step), claimMs, retryMs }
  }

  return async () => {
    let seen = await see()
    if (isBack(seen) || isForward(seen)) {
      seen = await see()
      tell(seen)
    }
    known = { least: seen.least, most: seen.most }
    wasAhead = seen.ahead > STEADY_MS
    if (pending === undefined) return
    const changed = await storage.recover(pending)
    if (changed > 0) onDue()
    // Rows that somebody was changing just then were passed over.
    else pending = undefined
  }
}
