/** Something that may be given up at any moment. */
export interface GivingUp {
  readonly aborted: boolean
  /** Why; undefined until then. */
  readonly reason: unknown
  /** Made when it is first asked for: a signal costs more than all the rest. */
  readonly signal: AbortSignal
  /** Calls this once when it is given up, at once if it has been, unless `forget` comes before. */
  follow(stop: () => void): void
  forget(stop: () => void): void
}

/** A signal of its own that also aborts with others. Disposing lets go of the others. */
export interface LinkedAbort extends GivingUp, Disposable {
  abort(reason: unknown): void
  throwIfAborted(): void
}

/** Both tell when something is given up; a `GivingUp` costs less to follow. */
export type Stopping = AbortSignal | GivingUp

/**
 * Aborts when one of these does, with its reason. Unlike `AbortSignal.any` it can be let go of, so
 * that a long-lived signal does not collect followers.
 */
export function linkAbort(...stoppings: readonly (Stopping | undefined)[]): LinkedAbort {
  return new Link(stoppings, 1)
}

/** Aborts when all of the signals have, with the reason of the last one. */
export function linkAbortOfAll(signals: readonly AbortSignal[]): LinkedAbort {
  return new Link(signals, signals.length)
}

class Link implements LinkedAbort {
  aborted = false
  reason: unknown
  #controller: AbortController | undefined
  #stops: Set<() => void> | undefined
  #followed: (() => void)[] | undefined

  constructor(stoppings: readonly (Stopping | undefined)[], wanted: number) {
    let left = wanted
    for (const stopping of stoppings) {
      if (stopping === undefined) continue
      const stop = (): void => {
        if (--left === 0) this.abort(stopping.reason)
      }
      this.#followed ??= []
      this.#followed.push(followed(stopping, stop))
    }
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.aborted) this.#controller.abort(this.reason)
    }
    return this.#controller.signal
  }

  abort(reason: unknown): void {
    if (this.aborted) return
    this.aborted = true
    // As a controller does that is given none.
    this.reason = reason ?? new DOMException('This operation was aborted', 'AbortError')
    this.#controller?.abort(this.reason)
    for (const stop of this.#stops ?? []) stop()
    this.#stops = undefined
  }

  throwIfAborted(): void {
    if (this.aborted) throw this.reason
  }

  follow(stop: () => void): void {
    if (this.aborted) return stop()
    this.#stops ??= new Set()
    this.#stops.add(stop)
  }

  forget(stop: () => void): void {
    this.#stops?.delete(stop)
  }

  [Symbol.dispose](): void {
    for (const release of this.#followed ?? []) release()
  }
}

/** Returns how to let go of it. */
function followed(stopping: Stopping, stop: () => void): () => void {
  if ('follow' in stopping) {
    stopping.follow(stop)
    return () => stopping.forget(stop)
  }
  if (stopping.aborted) stop()
  stopping.addEventListener('abort', stop, { once: true })
  return () => stopping.removeEventListener('abort', stop)
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
  using link = linkAbort(signal)
  return await unlessAborted(link, async () => work(), onLate)
}

/**
 * Resolves when the work has ended, or when the signal aborts; the work itself goes on. Unlike a
 * race with a promise of the signal, it leaves nothing at the signal.
 */
export async function endedOrAborted(work: Promise<unknown>, signal: AbortSignal): Promise<void> {
  using link = linkAbort(signal)
  await new Promise<void>((resolve, reject) => {
    link.follow(resolve)
    work.then(() => resolve(), reject)
  })
}

/** As `abortable`, without a signal. The work returns a promise, and throws nothing before. */
export function unlessAborted<Value>(
  link: GivingUp,
  work: () => Promise<Value>,
  onLate: (error: unknown) => void,
): Promise<Value> {
  if (link.aborted) return Promise.reject(link.reason)
  return new Promise((resolve, reject) => {
    const stop = (): void => reject(link.reason)
    link.follow(stop)
    work().then(
      (value) => {
        link.forget(stop)
        resolve(value)
      },
      (error: unknown) => {
        if (link.aborted) onLate(error)
        link.forget(stop)
        reject(error)
      },
    )
  })
}
