import { MersalError } from '../../core/errors/errors.ts'
import type { PublishOutcome, Transport } from '../../core/transport.ts'
import { toError } from '../../lib/async/abort.ts'

/** Nothing was wrong with the destination: the message was taken back before its turn came. */
export function isWithdrawn(outcome: PublishOutcome): boolean {
  return outcome.kind === 'unavailable' && outcome.withdrawn === true
}

/**
 * A transport that throws or rejects breaks its contract; nobody knows what it did with the
 * message.
 */
export function brokenAnswer(transport: Transport, thrown: unknown): PublishOutcome {
  const text = `transport '${transport.name}' answered a publish with an error or not at all`
  return {
    kind: 'unknown',
    error: new MersalError('MERSAL_UNKNOWN_OUTCOME', text, {
      cause: thrown === undefined ? undefined : toError(thrown),
    }),
  }
}

export function noSuchTransport(transport: string): PublishOutcome {
  const text = `there is no transport called '${transport}' here; give it in 'bridges', or run the relay where it is known`
  return {
    kind: 'unavailable',
    error: new MersalError('MERSAL_UNAVAILABLE', text, { details: { transport } }),
  }
}

export function noAnswer(): PublishOutcome {
  return {
    kind: 'unknown',
    error: new MersalError(
      'MERSAL_UNKNOWN_OUTCOME',
      'the transport gave no answer until the claim ended',
    ),
  }
}

/** A transport that throws before it was given the message. */
export function brokenTransport(transport: Transport, thrown: unknown): PublishOutcome {
  const text = `transport '${transport.name}' failed before a message was handed to it`
  return {
    kind: 'unavailable',
    error: new MersalError('MERSAL_UNAVAILABLE', text, { cause: toError(thrown) }),
  }
}

/** Whether a transport answered with one of the four outcomes. */
export function isOutcome(answer: unknown): answer is PublishOutcome {
  if (typeof answer !== 'object' || answer === null || !('kind' in answer)) return false
  const { kind } = answer
  return kind === 'confirmed' || kind === 'refused' || kind === 'unavailable' || kind === 'unknown'
}
