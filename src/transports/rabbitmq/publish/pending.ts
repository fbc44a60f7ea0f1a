import type { PublishOutcome } from '../../../core/transport.ts'
import type { Answer } from './outcomes.ts'

/** The content itself is not kept: what was written belongs to the socket. */
export interface Pending {
  readonly id: string
  readonly exchange: string
  readonly routingKey: string
  /** Written before, with the same id, and unanswered. */
  earlier: Pending | undefined
  readonly bytes: number
  readonly writtenAt: number
  /** How far the channel had been written with it. */
  readonly end: number
  readonly copy: number
  readonly settle: (answer: Answer) => void
  returned: PublishOutcome | undefined
  expired: boolean
}

/** The last one, from this one back, of which that is true. */
export function findBack(
  last: Pending | undefined,
  isIt: (pending: Pending) => boolean,
): Pending | undefined {
  for (let pending = last; pending !== undefined; pending = pending.earlier)
    if (isIt(pending)) return pending
  return undefined
}

export function unlink(last: Pending | undefined, gone: Pending): void {
  const later = findBack(last, ({ earlier }) => earlier === gone)
  if (later !== undefined) later.earlier = gone.earlier
}

export const idOf = ({ messageId }: { readonly messageId?: unknown }): string =>
  typeof messageId === 'string' ? messageId : ''
