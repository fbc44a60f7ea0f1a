import { backoffMs } from '../../lib/async/backoff.ts'
import type { Clock, Random } from '../../lib/async/clock.ts'

/** Brokers without delays or dead letters: a message moves when its copy is safe elsewhere. */
export interface Move {
  /** The copy goes to the dead letters. */
  readonly dead: boolean
  /** The message is given back when the first try fails. */
  readonly once?: boolean
}

/**
 * What one try has come to.
 *
 * - `moved`: the copy is safe.
 * - `again`: the next move is another one, and is tried at once.
 * - `failed`: it is tried again after a pause. `refused`: the target takes nothing.
 * - `impossible`: this message can never be copied.
 */
export type MoveResult =
  | { readonly kind: 'moved' }
  | { readonly kind: 'again' }
  | { readonly kind: 'impossible' }
  | { readonly kind: 'failed'; readonly error: Error; readonly refused: boolean }

export interface MovePorts<Step extends Move> {
  /**
   * The next move. `aside`: the dead letters take nothing, so the message has to wait with its
   * reason, and must not be `dead`.
   */
  readonly next: (aside: boolean) => Step
  readonly attempt: (step: Step) => Promise<MoveResult>
  /** Logs a try that failed. */
  readonly failed: (step: Step, error: Error) => void
  /** Aborts when the message is lost to another consumer. */
  readonly lost: AbortSignal
  /** Aborts when the consumer stops: then nothing is tried a second time. */
  readonly stopping: AbortSignal
  readonly clock: Clock
  readonly random: Random
}

/**
 * How it has ended: the copy is safe, so that the message may go; the message goes back to its
 * queue; it can never be copied, as this step would; or it is lost, and nothing is left to be done.
 */
export type Ending<Step> =
  | { readonly kind: 'moved' | 'give-back' | 'lost' }
  | { readonly kind: 'impossible'; readonly step: Step }

const pause = { firstMs: 250, longestMs: 5000 }
/** Refusals of the dead letters after which a message is set aside. */
const MOST_REFUSALS = 2

/** Tries until a copy is safe, or the message cannot be copied, is lost, or the consumer stops. */
export async function move<Step extends Move>(ports: MovePorts<Step>): Promise<Ending<Step>> {
  const { lost, stopping, clock, random } = ports
  let refusals = 0
  for (let failures = 1; !lost.aborted; failures++) {
    const step = ports.next(refusals >= MOST_REFUSALS)
    const result = await ports.attempt(step)
    if (result.kind === 'again') continue
    if (result.kind === 'moved') return { kind: 'moved' }
    if (result.kind === 'impossible') return { kind: 'impossible', step }
    if (step.once === true) return { kind: 'give-back' }
    if (step.dead && result.refused) refusals++
    ports.failed(step, result.error)
    if (step.dead && refusals === MOST_REFUSALS) continue
    if (!stopping.aborted)
      await clock.sleep(backoffMs(pause, failures, random), AbortSignal.any([lost, stopping]))
    if (stopping.aborted) return { kind: 'give-back' }
  }
  return { kind: 'lost' }
}
