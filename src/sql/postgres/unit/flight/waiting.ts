import type { JoiningClient, Submittable } from './client.ts'

/** A statement that has not been sent yet, and that whoever gave it has an answer to already. */
export interface Held {
  readonly go: () => void
  readonly fail: (error: Error) => void
}

export const isSubmittable = (config: unknown): config is Submittable =>
  typeof (config as Partial<Submittable>).submit === 'function'

function shown(error: unknown): never {
  // As pg does: the stack shall lead to whoever sent the query, not to the socket.
  if (error instanceof Error) Error.captureStackTrace(error)
  throw error
}

/** Sends a query of our making; a promise unless it has a callback. */
export function sendQuery(query: Submittable, send: () => unknown): unknown {
  if (query.callback !== undefined) return void send()
  const { promise, resolve, reject } = Promise.withResolvers()
  query.callback = (error, result) => (error ? reject(error) : resolve(result))
  send()
  return promise.catch(shown)
}

/** A query of our making that is sent a little later. */
export class Waiting {
  readonly query: Submittable
  /** What whoever gave it gets. */
  readonly promise: Promise<unknown>
  readonly send: () => void
  readonly #reject: (error: Error) => void

  constructor(query: Submittable, send: (query: Submittable) => unknown) {
    const { promise, resolve, reject } = Promise.withResolvers()
    query.callback = (error, result) => (error ? reject(error) : resolve(result))
    this.query = query
    this.promise = promise.catch(shown)
    this.send = () => void send(query)
    this.#reject = reject
  }

  fail(error: Error): void {
    this.#reject(error)
  }
}

/** Answers as `query` of a client does, with an error, to what is never sent. */
export function refuse(given: unknown[], client: JoiningClient, error: Error): unknown {
  const held: Held[] = []
  const result = hold(given, client, held, () => undefined)
  process.nextTick(() => held[0]?.fail(error))
  return result
}

/** Answers as `query` of a client does, now, to what is sent later. */
export function hold(
  given: unknown[],
  client: JoiningClient,
  held: Held[],
  send: () => unknown,
): unknown {
  const [config] = given
  const callback =
    given.find((one) => typeof one === 'function') ??
    (config as { callback?: unknown } | undefined)?.callback
  if (config !== null && config !== undefined && isSubmittable(config)) {
    held.push({
      go: () => void send(),
      fail: (error) => config.handleError(error, client.connection),
    })
    return config
  }
  if (typeof callback === 'function') {
    held.push({ go: () => void send(), fail: (error) => void callback(error) })
    return undefined
  }
  const { promise, resolve, reject } = Promise.withResolvers()
  held.push({ go: () => resolve(send()), fail: reject })
  return promise
}
