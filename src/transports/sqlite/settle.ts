import type { Disposition } from '../../core/transport.ts'
import type { Handle } from '../../sql/sqlite/connection/database.ts'
import { asideMs, asideText, deadText } from '../shared/aside.ts'
import type { Reject } from '../shared/receiving/held-messages.ts'
import { queueSql } from './statements.ts'

/** Which row, and the proof that it is still ours. */
export interface Hold {
  readonly position: number
  readonly token: string
}

/**
 * Records what became of a delivery. A former holder changes nothing. Returns whether another
 * message may be due now.
 */
export function settleDelivery(
  handle: Handle,
  { position, token }: Hold,
  disposition: Disposition,
  now: number,
): boolean {
  const hold = { position, token }
  switch (disposition.kind) {
    case 'ack':
      return removeMessage(handle, hold)
    case 'retry': {
      const visibleAt = Math.ceil(now + disposition.delayMs)
      const { postponedSince } = disposition
      if (postponedSince === undefined)
        return handle.run(queueSql.retry, { ...hold, visibleAt }).changes > 0
      return (
        handle.run(queueSql.postpone, { ...hold, visibleAt, since: Math.round(postponedSince) })
          .changes > 0
      )
    }
    case 'release':
      return handle.run(queueSql.release, { ...hold, visibleAt: Math.trunc(now) }).changes > 0
    case 'reject': {
      const { reason, error } = disposition
      handle.run(queueSql.bury, { ...hold, reason, error: deadText(error), now: Math.trunc(now) })
      return removeMessage(handle, hold)
    }
    default:
      return disposition satisfies never
  }
}

/** What cannot be stored as a dead letter waits with its reason, so that it stops nobody. */
export function putAside(
  handle: Handle,
  { position, token }: Hold,
  { reason, error }: Reject,
  now: number,
): void {
  const visibleAt = Math.ceil(now + asideMs(asideText(error) !== undefined))
  handle.run(queueSql.aside, { position, token, reason, error: deadText(error), visibleAt })
}

function removeMessage(
  handle: Handle,
  hold: { readonly position: number; readonly token: string },
): boolean {
  const removed = handle.all<{ queue: string; partitionKey: string | null }>(
    queueSql.remove,
    hold,
  )[0]
  if (removed === undefined || removed.partitionKey === null) return false
  const { queue, partitionKey } = removed
  return handle.run(queueSql.promote, { queue, partitionKey }).changes > 0
}
