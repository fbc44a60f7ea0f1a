/** Something that consumes, and can be broken off. */
export interface Breakable extends AsyncDisposable {
  /** Aborts the signals of its deliveries and does not wait for the callbacks. */
  breakOff(reason?: Error): Promise<void>
}

/** The consumers of one transport. */
export interface Consumers {
  /** What it returns stops this one. */
  add(consumer: Breakable): AsyncDisposable
  /** Breaks all of them off, because the transport is closed. */
  breakOff(reason?: Error): Promise<void>
}

export function consumers(): Consumers {
  const running = new Set<Breakable>()
  return {
    add(consumer) {
      running.add(consumer)
      return {
        async [Symbol.asyncDispose]() {
          await consumer[Symbol.asyncDispose]()
          running.delete(consumer)
        },
      }
    },
    async breakOff(reason) {
      const all = [...running]
      running.clear()
      await Promise.all(all.map((consumer) => consumer.breakOff(reason)))
    },
  }
}
