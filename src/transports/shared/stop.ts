import type { PublishOutcome } from '../../core/transport.ts'
import { type Followers, followersOf } from '../../lib/async/abort.ts'
import { unknown, withdrawn } from './outcomes.ts'

/** What ends the waiting for confirms, made once for all messages of a call. */
export interface Stop {
  readonly signal: AbortSignal
  readonly followers: Followers
  /** Ends it only for what has not been written. */
  readonly withdraw?: Stop
}

/** The two signals of `PublishOptions`. */
export function stopOn(signal: AbortSignal | undefined, withdraw?: AbortSignal): Stop | undefined {
  const before = following(withdraw)
  const whole = following(
    signal ?? (before === undefined ? undefined : new AbortController().signal),
  )
  return whole === undefined || before === undefined ? whole : { ...whole, withdraw: before }
}

function following(signal: AbortSignal | undefined): Stop | undefined {
  return signal === undefined ? undefined : { signal, followers: followersOf(signal) }
}

/** Takes a message back that waits its turn: true if it will never be written. */
export type TakeBack = () => boolean

/**
 * Lets `stop` end the waiting for the answer of one message. `write` hands the message over, and
 * returns how to take it back if it has not been written yet; what it throws is thrown. What was
 * written is `unknown` when `stop` aborts, what was taken back is `withdrawn`.
 */
export function answeredOrStopped<Answer>(
  stop: Stop | undefined,
  write: (settle: (answer: Answer) => void) => TakeBack | undefined,
  settled: (answer: Answer | PublishOutcome) => void,
): void {
  let takeBack: TakeBack | undefined
  const settle = (answer: Answer | PublishOutcome): void => {
    stop?.followers.delete(giveUp)
    stop?.withdraw?.followers.delete(letGo)
    settled(answer)
  }
  const giveUp = (): void =>
    settle(takeBack?.() === true ? withdrawn() : unknown('the waiting for the confirm was aborted'))
  const letGo = (): void => {
    if (takeBack?.() === true) settle(withdrawn())
  }
  takeBack = write(settle)
  stop?.followers.add(giveUp)
  if (takeBack !== undefined) stop?.withdraw?.followers.add(letGo)
}
