/**
 * Lets at most this number of tasks run at one time; the others wait in the order of their coming.
 */
export function turns(most: number): <Result>(task: () => Promise<Result>) => Promise<Result> {
  let running = 0
  const waiting: (() => void)[] = []
  return async (task) => {
    if (running >= most) await new Promise<void>((resolve) => waiting.push(resolve))
    else running += 1
    try {
      return await task()
    } finally {
      // The place of this one goes to the next one.
      const next = waiting.shift()
      if (next === undefined) running -= 1
      else next()
    }
  }
}
