/** The part of a connection of `pg` that its queries write to. */
export interface Wire {
  readonly stream: { cork(): void; uncork(): void; write(bytes: Uint8Array): unknown }
  readonly parsedStatements: object
  readonly submittedNamedStatements: object
  parse(statement: object): void
  bind(portal: object): void
  describe(what: object): void
  execute(portal: object): void
  close(what: object): void
  query(text: string): void
  flush(): void
  sync(): void
}

type Callback = (error: Error | null | undefined, result?: unknown) => void

/** What a client of `pg` takes for a query: its own class, a cursor, a stream. */
export interface Submittable {
  name?: string | undefined
  callback?: Callback | undefined
  submit(wire: Wire): Error | null | undefined
  requiresPreparation?(): boolean
  handleCommandComplete(message: { readonly text: string }, wire: Wire): void
  handleDataRow(message: { readonly fields: readonly (string | null)[] }): void
  handleError(error: Error, wire: Wire): void
  handleReadyForQuery(wire: Wire): void
}

export type NewQuery = new (config: unknown, values?: unknown, callback?: unknown) => Submittable

type Listener<Message> = (message: Message) => void

/** A client of `pg` in JavaScript. */
export interface JoiningClient {
  readonly constructor: { readonly Query: NewQuery }
  readonly connection: Wire & {
    on(event: 'commandComplete', listener: Listener<{ readonly text: string }>): unknown
    on(event: 'readyForQuery' | 'end', listener: Listener<unknown>): unknown
    off(event: 'readyForQuery' | 'end', listener: Listener<unknown>): unknown
  }
  query: (...given: unknown[]) => unknown
  getTransactionStatus: () => 'I' | 'T' | 'E' | null
}

const has = (value: unknown, names: readonly string[]): boolean =>
  typeof value === 'object' &&
  value !== null &&
  names.every((name) => typeof (value as Record<string, unknown>)[name] === 'function')

const checked = new WeakMap<NewQuery, boolean>()

/**
 * Whether this is a client of `pg` in JavaScript; one in C, or of another make, gets its statements
 * one by one.
 */
export function joins(client: unknown): client is JoiningClient {
  const { connection, constructor } = client as Partial<JoiningClient>
  const Query = constructor?.Query
  if (typeof Query !== 'function') return false
  let known = checked.get(Query)
  if (known === undefined) {
    known =
      has(connection, ['parse', 'bind', 'describe', 'execute', 'query', 'sync', 'on']) &&
      has(connection?.stream, ['cork', 'uncork', 'write']) &&
      has(Query.prototype, [
        'submit',
        'requiresPreparation',
        'handleCommandComplete',
        'handleDataRow',
        'handleError',
        'handleReadyForQuery',
      ])
    checked.set(Query, known)
  }
  return known
}
