/** Resolves when the signal aborts; never rejects. With no signal it never resolves. */
export function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
}

/** The error inside whatever was thrown. */
export function toError(thrown: unknown): Error {
  let text: string
  try {
    // The message of a strange one may be no text, or throw when it is read.
    if (thrown instanceof Error && typeof thrown.message === 'string') return thrown
    text = String(thrown)
  } catch {
    text = 'a value that cannot be shown'
  }
  return new Error(`a value that is no Error was thrown: ${text.slice(0, 200)}`, { cause: thrown })
}
