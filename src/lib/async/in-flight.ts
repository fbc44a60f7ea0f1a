/** Counts what is in progress, and lets others wait until nothing is. */
export interface InFlight {
  readonly count: number
  /** This many more are in progress. Default 1. */
  enter(many?: number): void
  /** This many have ended. Default 1. */
  leave(many?: number): void
  /** Counts the work while it runs. */
  run<Result>(work: () => Promise<Result>): Promise<Result>
  /** Resolves when nothing is in progress; at once if nothing is. */
  idle(): Promise<void>
}

export function inFlight(): InFlight {
  let count = 0
  let waiting: PromiseWithResolvers<void> | undefined

  function leave(many = 1): void {
    count -= many
    if (count > 0) return
    waiting?.resolve()
    waiting = undefined
  }

  return {
    get count() {
      return count
    },
    enter(many = 1) {
      count += many
    },
    leave,
    async run(work) {
      count++
      try {
        return await work()
      } finally {
        leave()
      }
    },
    idle() {
      if (count === 0) return Promise.resolve()
      waiting ??= Promise.withResolvers()
      return waiting.promise
    },
  }
}
