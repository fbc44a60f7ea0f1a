import { MersalError } from '../../core/errors/errors.ts'

/** Something that consumes, and can be broken off. */
export interface Breakable extends AsyncDisposable {
  /** Aborts the signals of its deliveries and does not wait for the callbacks. */
  breakOff(reason?: Error): Promise<void>
}

/** The consumers of one transport. */
export interface Consumers {
  /**
   * Resolves to what stops this one. Rejects if all have been broken off: then this one is, too.
   */
  add(consumer: Breakable): Promise<AsyncDisposable>
  /** Breaks all of them off, because the transport is closed. */
  breakOff(reason?: Error): Promise<void>
}

export function consumers(): Consumers {
  const running = new Set<Breakable>()
  let closed: Error | undefined
  return {
    async add(consumer) {
      if (closed !== undefined) {
        await consumer.breakOff(closed)
        throw closed
      }
      running.add(consumer)
      return {
        async [Symbol.asyncDispose]() {
          await consumer[Symbol.asyncDispose]()
          running.delete(consumer)
        },
      }
    },
    async breakOff(
      reason = new MersalError('MERSAL_APP_STOPPED', 'the transport has been closed'),
    ) {
      closed ??= reason
      const all = [...running]
      running.clear()
      await Promise.all(all.map((consumer) => consumer.breakOff(reason)))
    },
  }
}
