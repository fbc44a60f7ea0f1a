/**
 * A promise that knows whether anybody has asked for its result: by `await`, `then`, `finally`,
 * `Promise.all` or by returning it from an async function. (`await` of a subclass goes through
 * `then`, unlike `await` of a plain promise.) What these derive are plain promises. `catch` alone is
 * no question, since it does not wait: the promise that it returns has to be asked.
 */
export class ObservedPromise<Value> extends Promise<Value> {
  #observed = false
  /** Asked when this one is. */
  #source: ObservedPromise<unknown> | undefined

  static override get [Symbol.species](): PromiseConstructor {
    return Promise
  }

  get observed(): boolean {
    return this.#observed
  }

  // oxlint-disable-next-line unicorn/no-thenable -- the point of the class
  override then<Result = Value, Failure = never>(
    onFulfilled?: ((value: Value) => Result | PromiseLike<Result>) | null,
    onRejected?: ((reason: unknown) => Failure | PromiseLike<Failure>) | null,
  ): Promise<Result | Failure> {
    this.#observed = true
    if (this.#source !== undefined) this.#source.#observed = true
    return super.then(onFulfilled, onRejected)
  }

  override catch<Failure = never>(
    onRejected?: ((reason: unknown) => Failure | PromiseLike<Failure>) | null,
  ): Promise<Value | Failure> {
    const caught = observe(super.then(undefined, onRejected))
    caught.#source = this.#source ?? this
    return caught
  }

  /** Keeps a rejection that nobody looks at from ending the process. Does not count as looking. */
  quieten(): void {
    super.then(undefined, () => {})
  }
}

/** A promise that is fulfilled already. */
export function observeNow<Value>(value: Value): ObservedPromise<Value> {
  return new ObservedPromise((resolve) => resolve(value))
}

/** The same result, as a promise that knows whether it was looked at. */
export function observe<Value>(promise: Promise<Value>): ObservedPromise<Value> {
  return new ObservedPromise((resolve, reject) => {
    promise.then(resolve, reject)
  })
}
