import { isError } from '../is-error.ts'

/** Resolves when the signal aborts; never rejects. With no signal it never resolves. */
export function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
}

/**
 * What is to be done when a signal aborts, for many at the price of one listener: a signal's own
 * list is slow when it is long.
 */
export interface Followers {
  add(stop: () => void): void
  delete(stop: () => void): void
}

/** Follows the signal only while there is somebody. */
export function followersOf(signal: AbortSignal): Followers {
  const stops = new Set<() => void>()
  const abort = (): void => {
    for (const stop of stops) stop()
  }
  return {
    add(stop) {
      if (stops.size === 0) signal.addEventListener('abort', abort)
      stops.add(stop)
    },
    delete(stop) {
      if (stops.delete(stop) && stops.size === 0) signal.removeEventListener('abort', abort)
    },
  }
}

/** The error inside whatever was thrown. */
export function toError(thrown: unknown): Error {
  let text: string
  try {
    // The message of a strange one may be no text, or throw when it is read.
    if (isError(thrown) && typeof thrown.message === 'string') return thrown
    text = String(thrown)
  } catch {
    text = 'a value that cannot be shown'
  }
  return new Error(`a value that is no Error was thrown: ${text.slice(0, 200)}`, { cause: thrown })
}
