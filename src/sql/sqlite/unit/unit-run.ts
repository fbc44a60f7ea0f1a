import type { UnitOptions } from '../../../core/store.ts'
import { type GivingUp, linkAbort } from '../../../lib/async/linked-abort.ts'
import type { Topic } from '../connection/file-lock.ts'

/** One run of a unit of work. */
export interface UnitRun extends Disposable {
  readonly options: UnitOptions
  readonly givingUp: GivingUp
  begun: boolean
  /** Of its commit. */
  flushed: Promise<void> | undefined
  /** What others are to be told then. */
  topic: Topic | undefined
}

export function newRun(options: UnitOptions): UnitRun {
  const own = options.givingUp === undefined ? linkAbort(options.signal) : undefined
  return {
    options,
    givingUp: options.givingUp ?? (own as GivingUp),
    begun: false,
    flushed: undefined,
    topic: undefined,
    [Symbol.dispose]: () => own?.[Symbol.dispose](),
  }
}

/** The result of the work, unless it is given up: then it is cut off, and the reason is thrown. */
export function untilGivenUp<Result>(
  work: Promise<Result>,
  givingUp: GivingUp,
  cutOff: () => void,
): Promise<Result> {
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      cutOff()
      reject(givingUp.reason)
    }
    const forget = (): void => givingUp.forget(stop)
    void work.then(resolve, reject).then(forget, forget)
    givingUp.follow(stop)
  })
}
