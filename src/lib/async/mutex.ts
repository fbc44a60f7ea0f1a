/** Runs one task at a time, in the order in which they asked. */
export class Mutex {
  #tail: Promise<unknown> = Promise.resolve()
  #waiting = 0

  /** Tasks that run or wait. */
  get size(): number {
    return this.#waiting
  }

  async run<T>(task: () => Promise<T> | T): Promise<T> {
    this.#waiting++
    const previous = this.#tail
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#tail = promise
    try {
      await previous
      return await task()
    } finally {
      this.#waiting--
      resolve()
    }
  }
}
