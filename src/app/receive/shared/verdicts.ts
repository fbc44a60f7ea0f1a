import { isMersalError } from '../../../core/errors/errors.ts'
import type { Clock } from '../../../lib/async/clock.ts'
import { linkAbort } from '../../../lib/async/linked-abort.ts'
import { endedByHandler } from '../early-commit.ts'
import type { Handling, Member, SharedFailure } from './shared-transaction.ts'
import type { Repeat, Verdict } from './sharing.ts'

/** A handler that had at least this share of the time of all is to blame for the time limit. */
const ITS_OWN_FAULT = 0.9
/**
 * A message whose neighbours fail shares once more. Then it is handled alone, so that no run of
 * failures holds it up.
 */
const MOST_UNDONE = 2

export interface VerdictPorts {
  readonly clock: Clock
  readonly receive: { readonly handlerTimeoutMs: number }
}

/**
 * What a failure means for each message, in their order: the one that failed is handled alone, the
 * others together once more, or all alone if nobody knows whose fault it was.
 */
export function verdicts<Tx>(
  ports: VerdictPorts,
  members: readonly Member<Tx>[],
  failure: SharedFailure<Tx>,
): readonly Verdict[] {
  const { progress, over, error } = failure
  if (failure.committedByHandler) return afterEarlyCommit(members, failure)
  switch (progress.stage) {
    case 'opening':
      // No fault of any message: the database is away, or the app is being stopped.
      return members.map(() => ({ kind: 'failed', error }))
    case 'handling':
      if (isMersalError(error, 'MERSAL_HANDLER_TIMEOUT'))
        return afterTimeLimit(ports, members, progress, failure)
      return members.map((member, index) => {
        const enough = member.reception.sharing.undone + 1 >= MOST_UNDONE
        return repeat(member, error, { alone: over || enough || index === progress.index })
      })
    case 'recording':
    case 'committing':
      return members.map((member) => repeat(member, error, { alone: true }))
    default:
      return progress satisfies never
  }
}

function repeat<Tx>(
  { reception: { sharing } }: Member<Tx>,
  cause: unknown,
  { alone, after }: { readonly alone: boolean; readonly after?: Promise<void> | undefined },
): Repeat {
  return { kind: 'repeat', cause, after, sharing: { undone: sharing.undone + 1, alone } }
}

/**
 * A handler has committed for all: what those before it wrote is stored, what they sent is not, and
 * only a person can tell what is missing. The others have not had their turn.
 */
function afterEarlyCommit<Tx>(
  members: readonly Member<Tx>[],
  { called, error }: SharedFailure<Tx>,
): readonly Verdict[] {
  const ended: Verdict = { kind: 'failed', error: endedByHandler(error) }
  return members.map((member) =>
    called.has(member) ? ended : repeat(member, error, { alone: true }),
  )
}

/**
 * Their time was up together. The message that was being handled is to blame only if it had nearly
 * all of that time.
 */
function afterTimeLimit<Tx>(
  ports: VerdictPorts,
  members: readonly Member<Tx>[],
  { index, beganAt, ended }: Handling,
  { givenUpAt, error }: SharedFailure<Tx>,
): readonly Verdict[] {
  const { handlerTimeoutMs } = ports.receive
  const guilty = givenUpAt !== undefined && givenUpAt - beganAt >= ITS_OWN_FAULT * handlerTimeoutMs
  return members.map((member, place): Verdict => {
    if (place !== index) return repeat(member, error, { alone: true })
    if (guilty) return { kind: 'failed', error }
    const after = endedOrLate(ports, ended, member.reception.signal)
    return repeat(member, error, { alone: true, after })
  })
}

/** A handler that was given up may go on. It should not run twice at the same time. */
async function endedOrLate(
  { clock, receive }: VerdictPorts,
  ended: Promise<unknown>,
  signal: AbortSignal,
): Promise<void> {
  using enough = linkAbort(signal)
  void ended.then(() => enough.abort('ended'))
  await clock.sleep(receive.handlerTimeoutMs, enough.signal)
}
