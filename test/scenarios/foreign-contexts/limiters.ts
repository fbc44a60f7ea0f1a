/** Runs work when its turn comes, one after the other. */
export type Limiter = <Result>(work: () => Promise<Result>) => Promise<Result>

/**
 * Queues as programs share them between requests. Each runs all of its work in the asynchronous
 * context of whoever set it going: while A's request is at work in it, B's work runs in A's
 * context.
 */
export const limiters: Readonly<Record<string, () => Limiter>> = {
  'a queue of callbacks': () => {
    const tasks: ((done: () => void) => void)[] = []
    let busy = false
    const next = (): void => {
      const task = tasks.shift()
      busy = task !== undefined
      task?.(next)
    }
    return (work) =>
      new Promise((resolve, reject) => {
        tasks.push((done) => void work().then(resolve, reject).finally(done))
        if (!busy) next()
      })
  },
  'a loop over promises': () => {
    const tasks: (() => Promise<void>)[] = []
    let looping = false
    const loop = async (): Promise<void> => {
      looping = true
      for (let task = tasks.shift(); task !== undefined; task = tasks.shift()) await task()
      looping = false
    }
    return (work) =>
      new Promise((resolve, reject) => {
        tasks.push(() => work().then(resolve, reject))
        if (!looping) void loop()
      })
  },
  'a batch loader': () => {
    let batch: (() => Promise<void>)[] = []
    let working = false
    const dispatch = async (): Promise<void> => {
      working = true
      while (batch.length > 0) {
        const taken = batch
        batch = []
        await Promise.all(taken.map((task) => task()))
      }
      working = false
    }
    return (work) =>
      new Promise((resolve, reject) => {
        batch.push(() => work().then(resolve, reject))
        if (!working && batch.length === 1) queueMicrotask(() => void dispatch())
      })
  },
}
