/** The part of a connection of `pg` that its queries write to. */
interface Wire {
  readonly stream: { cork(): void; uncork(): void }
  parse(statement: { readonly text: string; readonly name?: string }): void
  bind(portal: { readonly values?: unknown[] }): void
  execute(portal: object): void
  query(text: string): void
  sync(): void
}

type Callback = (error: Error | null | undefined, result?: unknown) => void

/** What a client of `pg` takes for a query: its own class, a cursor, a stream. */
export interface Submittable {
  name?: string | undefined
  callback?: Callback | undefined
  submit(wire: Wire): Error | null | undefined
  handleCommandComplete(message: { readonly text: string }, wire: Wire): void
  handleError(error: Error, wire: Wire): void
  handleReadyForQuery(wire: Wire): void
}

export type NewQuery = new (config: unknown, values?: unknown, callback?: unknown) => Submittable

/** A client whose queries can be joined. */
export interface JoiningClient {
  readonly constructor: { readonly Query: NewQuery }
  readonly connection: Wire & { once(event: 'readyForQuery', listener: () => void): unknown }
  query(...given: unknown[]): unknown
  getTransactionStatus(): 'I' | 'T' | 'E' | null
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
  if (
    typeof Query !== 'function' ||
    !has(connection, ['parse', 'bind', 'execute', 'query', 'sync', 'once'])
  )
    return false
  let known = checked.get(Query)
  if (known === undefined) {
    known = has(Query.prototype, [
      'submit',
      'handleCommandComplete',
      'handleError',
      'handleReadyForQuery',
    ])
    checked.set(Query, known)
  }
  return known && has(connection?.stream, ['cork', 'uncork'])
}

export interface Joined {
  /** Goes before the query. If the server refuses it, it runs nothing of what follows. */
  readonly before?: string | undefined
  /**
   * Goes behind the query, which must be one statement with parameters. Does not run if the query
   * failed.
   */
  readonly after?: string | undefined
  /** `before` has run. Called before the answer of the query. */
  readonly begun?: () => void
  /** The server was ready for the next query. */
  readonly ready?: () => void
  /** `when`: nothing was sent yet; the server has not answered `before`; or it has. */
  readonly failed?: (error: Error, when: 'unsent' | 'before' | 'after') => void
  /** The query itself has run; `after` may still fail. */
  readonly ran?: () => void
  /** Command tag of `after`. */
  readonly ended?: (tag: string) => void
}

/**
 * Lets another statement travel in the flight of a query, before it or behind it. In PostgreSQL's
 * extended protocol a message that fails makes the server skip everything up to the next Sync, and
 * there is one Sync, at the end: so a statement never runs outside of a transaction whose BEGIN has
 * failed, and a COMMIT never runs after a statement that has. `pg` sees one query.
 */
export function join(query: Submittable, joined: Joined): void {
  const { name } = query
  const submit = query.submit.bind(query)
  const handleCommandComplete = query.handleCommandComplete.bind(query)
  const handleError = query.handleError.bind(query)
  const handleReadyForQuery = query.handleReadyForQuery.bind(query)
  let [sent, submitting, begun, ran] = [false, false, joined.before === undefined, false]
  const send = (): void => {
    sent = true
  }
  // pg notes a name as prepared with the first answer to a Parse, which is that of `before`.
  if (name !== undefined && joined.before !== undefined) {
    Object.defineProperty(query, 'name', {
      get: () => (sent && !submitting && !begun ? undefined : name),
    })
  }
  query.submit = (wire) => {
    submitting = true
    wire.stream.cork()
    try {
      return submit(wireWith(wire, joined, send))
    } finally {
      wire.stream.uncork()
      submitting = false
    }
  }
  query.handleCommandComplete = (message, wire) => {
    if (!begun) {
      begun = true
      joined.begun?.()
    } else if (joined.after !== undefined && ran) {
      joined.ended?.(message.text)
    } else {
      ran = true
      handleCommandComplete(message, wire)
      joined.ran?.()
    }
  }
  query.handleError = (error, wire) => {
    // What fails while it is being written is a parameter of the query, behind a `before` that goes
    // its way.
    if (!submitting) joined.failed?.(error, sent ? (begun ? 'after' : 'before') : 'unsent')
    handleError(error, wire)
  }
  query.handleReadyForQuery = (wire) => {
    joined.ready?.()
    handleReadyForQuery(wire)
  }
}

function add(wire: Wire, text: string): void {
  wire.parse({ text })
  wire.bind({})
  wire.execute({})
}

/**
 * The same connection, on which the first message of the query follows `before`, and its Sync
 * follows `after`.
 */
function wireWith(wire: Wire, { before, after }: Joined, send: () => void): Wire {
  let [first, executed] = [true, false]
  const begin = (): void => {
    if (!first) return
    first = false
    send()
    if (before !== undefined) add(wire, before)
  }
  return Object.assign(Object.create(wire) as Wire, {
    parse(statement: Parameters<Wire['parse']>[0]) {
      begin()
      wire.parse(statement)
    },
    bind(portal: Parameters<Wire['bind']>[0]) {
      begin()
      wire.bind(portal)
    },
    query(text: string) {
      begin()
      wire.query(text)
    },
    execute(portal: object) {
      executed = true
      wire.execute(portal)
    },
    sync() {
      // Without an Execute, its parameters could not be written.
      if (after !== undefined && executed) add(wire, after)
      wire.sync()
    },
  })
}
