/** A signal of its own that also aborts with others. Disposing lets go of the others. */
export interface LinkedAbort extends Disposable {
  readonly signal: AbortSignal
  abort(reason: unknown): void
}

/**
 * Aborts when one of the signals does, with its reason. Unlike `AbortSignal.any` it can be let go
 * of, so that a long-lived signal does not collect followers.
 */
export function linkAbort(...signals: readonly (AbortSignal | undefined)[]): LinkedAbort {
  return link(signals, 1)
}

/** Aborts when all of the signals have, with the reason of the last one. */
export function linkAbortOfAll(signals: readonly AbortSignal[]): LinkedAbort {
  return link(signals, signals.length)
}

function link(signals: readonly (AbortSignal | undefined)[], wanted: number): LinkedAbort {
  const controller = new AbortController()
  const followed: (() => void)[] = []
  let left = wanted
  for (const signal of signals) {
    if (signal === undefined) continue
    const follow = (): void => {
      if (--left === 0) controller.abort(signal.reason)
    }
    if (signal.aborted) follow()
    signal.addEventListener('abort', follow, { once: true })
    followed.push(() => signal.removeEventListener('abort', follow))
  }
  return {
    signal: controller.signal,
    abort: (reason) => controller.abort(reason),
    [Symbol.dispose]: () => {
      for (const release of followed) release()
    },
  }
}

/**
 * The result of the work, or a rejection with the signal's reason as soon as it aborts; the work
 * itself goes on, and `onLate` gets its failure, if any. Work is not begun under an aborted
 * signal.
 */
export async function abortable<Value>(
  signal: AbortSignal | undefined,
  work: () => Promise<Value> | Value,
  onLate: (error: unknown) => void = () => {},
): Promise<Value> {
  if (signal === undefined) return work()
  signal.throwIfAborted()
  const { promise: stopped, reject } = Promise.withResolvers<never>()
  const stop = (): void => reject(signal.reason as Error)
  signal.addEventListener('abort', stop, { once: true })
  const running = (async () => work())()
  running.catch((error: unknown) => {
    if (signal.aborted) onLate(error)
  })
  try {
    return await Promise.race([running, stopped])
  } finally {
    signal.removeEventListener('abort', stop)
  }
}
