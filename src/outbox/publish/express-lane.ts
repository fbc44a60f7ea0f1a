import type { ClaimedMessage } from '../../core/outbox.ts'
import type { Logger } from '../../core/telemetry.ts'
import type { Clock } from '../../lib/async/clock.ts'
import type { Terms } from './batch.ts'
import type { ExpressOffer } from '../types.ts'

export interface ExpressPorts {
  readonly app: string
  readonly clock: Clock
  readonly logger: Logger
  readonly newToken: () => string
  readonly graceMs: number
  /** Whether units may use the lane now: running, not slow, not full. */
  readonly open: () => boolean
  /** Whether there is room for all of these. */
  readonly hasRoom: (rows: readonly ClaimedMessage[]) => boolean
  readonly publish: (rows: readonly ClaimedMessage[], terms: Terms) => void
  /** Gives the rows back, so that the claim road takes them. */
  readonly release: (rows: readonly ClaimedMessage[], terms: Terms) => void
}

/** Lets the process that committed messages publish them from memory. The rows are born claimed. */
export function createExpressLane(ports: ExpressPorts): () => ExpressOffer | undefined {
  return () => {
    if (!ports.open()) return undefined
    // From before the insert is sent, so that the row's own time is later than ours in any case.
    const offeredAt = ports.clock.monotonic()
    const { graceMs } = ports
    const terms: Terms = {
      startedAt: offeredAt,
      publishUntil: offeredAt + graceMs / 2,
      keepUntil: offeredAt + graceMs,
      express: true,
    }
    let used = false
    return {
      token: ports.newToken(),
      graceMs: ports.graceMs,
      dispatch(messages) {
        if (used)
          return ports.logger.error(
            { app: ports.app, messages: messages.length },
            'an express offer was used twice; the relay takes these rows later',
          )
        used = true
        if (messages.length === 0) return
        if (!ports.open() || !ports.hasRoom(messages)) ports.release(messages, terms)
        else ports.publish(messages, terms)
      },
      cancel() {
        used = true
      },
    }
  }
}
