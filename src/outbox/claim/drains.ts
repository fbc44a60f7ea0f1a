import { MersalError } from '../../core/errors/errors.ts'

/** Those who wait until the outbox is empty. */
export interface Drains {
  readonly size: number
  /** Resolves when a claim with a higher number than `after` proves that nothing is left. */
  wait(after: number, signal: AbortSignal | undefined): Promise<void>
  /** The claim with this number found nothing, and nothing is in flight. */
  empty(number: number): void
  /** The relay has stopped: nobody will ever know. */
  fail(): void
}

export function createDrains(): Drains {
  const waiting = new Set<{ readonly after: number; readonly end: (error?: unknown) => void }>()
  return {
    get size() {
      return waiting.size
    },
    async wait(after, signal) {
      signal?.throwIfAborted()
      const { promise, resolve, reject } = Promise.withResolvers<void>()
      const aborted = (): void => entry.end(signal?.reason)
      const entry = {
        after,
        end: (error?: unknown) => {
          waiting.delete(entry)
          signal?.removeEventListener('abort', aborted)
          if (error === undefined) resolve()
          else
            reject(
              error instanceof Error
                ? error
                : new Error('the draining was given up', { cause: error }),
            )
        },
      }
      waiting.add(entry)
      signal?.addEventListener('abort', aborted, { once: true })
      await promise
    },
    empty(number) {
      for (const entry of waiting) if (number > entry.after) entry.end()
    },
    fail() {
      for (const entry of waiting)
        entry.end(
          new MersalError('MERSAL_APP_STOPPED', 'the relay stopped before the outbox was drained'),
        )
    },
  }
}
