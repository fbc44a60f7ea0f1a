import { type Dialect, postgresDialect } from '../../units/statement-scan.ts'
import { endingOf, handleRevoked, transactionIsOurs } from '../../units/transaction-words.ts'

/** How the library ends the transaction of a unit. */
export type End = 'commit' | 'rollback'

/** How the handle of a library is lent to the work of a unit. */
export interface Lent<Tx> {
  /** What the work gets in place of the handle. */
  readonly tx: Tx
  /**
   * Called when the work has ended, and again before the library ends the transaction. From now on
   * the handle does nothing for the work. These statements of our own and of the library pass.
   */
  readonly revoke: (passing: readonly string[]) => void
  /** Called when the library has ended the transaction, in whatever way. */
  readonly release?: () => void
}

/** Lets the statements of a unit through, as long as it is open. */
export interface Gate {
  /**
   * Throws for a statement that would end the transaction. After the end of the unit, throws for
   * every one that was not let through.
   */
  admit(text: unknown): void
  /** Whether a statement that it has admitted ends the transaction. */
  ends(text: unknown): boolean
  readonly revoked: boolean
  revoke(passing: readonly string[]): void
  /** Lets everything through. */
  retire(): void
}

/**
 * What a library itself sends between the end of the work and the end of the transaction: nothing
 * but `COMMIT` or `ROLLBACK`, or statements of its own as well, such as those of a unit of work or
 * of subscribers. Nobody can tell them from late ones.
 */
export type Afterwards = 'the end' | 'statements'

const endIn = (text: unknown, dialect: Dialect): string | undefined =>
  typeof text === 'string' ? endingOf(text, dialect) : undefined

export interface GateOptions {
  /** Default: that of PostgreSQL. */
  readonly dialect?: Dialect | undefined
  /** Default `the end`. */
  readonly afterwards?: Afterwards | undefined
}

export function gate(
  library: string,
  { dialect = postgresDialect, afterwards = 'the end' }: GateOptions = {},
): Gate {
  let [allowed, retired]: [readonly string[] | undefined, boolean] = [undefined, false]
  // What is sent behind the end, and before its answer, would be committed by itself.
  let ending = false
  const passes = (text: unknown, end: string | undefined): boolean => {
    if (end === undefined && ending) return false
    if (end === undefined && afterwards === 'statements') return true
    // What it writes may fail.
    if (afterwards === 'statements' && end === 'rollback') return true
    return allowed?.includes(end ?? String(text)) === true
  }
  return {
    admit(text) {
      if (retired) return
      const end = endIn(text, dialect)
      if (allowed !== undefined && !passes(text, end)) throw handleRevoked(library)
      if (allowed !== undefined && end !== undefined) ending = true
      if (allowed === undefined && end !== undefined)
        throw transactionIsOurs(`${library}: ${end.toUpperCase()}`)
    },
    ends: (text) => allowed !== undefined && endIn(text, dialect) !== undefined,
    get revoked() {
      return allowed !== undefined
    },
    revoke: (passing) => void (allowed = passing),
    retire: () => void (retired = true),
  }
}

export type Method = (this: unknown, ...given: never[]) => unknown

/**
 * Refuses these methods of a handle while its unit is open; the library calls them itself when it
 * ends the transaction.
 */
export function lendWithout<Tx extends object>(
  library: string,
  tx: Tx,
  names: readonly string[],
): Lent<Tx> {
  const restore = withoutForGood(library, tx, names)
  return {
    tx,
    revoke(passing) {
      if (passing.some((text) => endIn(text, postgresDialect) !== undefined)) restore()
    },
  }
}

/** Refuses these methods of a handle, also afterwards. The result undoes that. */
export function withoutForGood(library: string, tx: object, names: readonly string[]): () => void {
  const refusing = (name: string) => (): Promise<never> =>
    Promise.reject(transactionIsOurs(`${library}: ${name}()`))
  return replaced(tx, Object.fromEntries(names.map((name) => [name, refusing(name)])))
}

/** What a method of the library does with a statement that it must not send. */
export type Refusal = 'throws' | 'rejects'

export interface CheckedOptions extends GateOptions {
  /** Default `rejects`. */
  readonly refusal?: Refusal
  /** Called when the end of the transaction has been answered, before the library goes on. */
  readonly released?: () => void
}

/**
 * Looks at each statement that these methods of an object are given, until the transaction has
 * ended. They belong to one transaction alone: to its handle, or to its connection.
 */
export function lendChecked<Tx>(
  library: string,
  tx: Tx,
  { target, names }: { readonly target: object; readonly names: readonly string[] },
  { refusal = 'rejects', released, ...options }: CheckedOptions = {},
): Lent<Tx> {
  const passing = gate(library, options)
  const release = (): void => {
    passing.retire()
    restore()
    released?.()
  }
  const checking = (method: Method): Method =>
    function (this: unknown, ...given) {
      const send = (): unknown => Reflect.apply(method, this, given)
      const last = passing.ends(textOf(given[0]))
      return checked(passing, given[0], last ? () => afterAnswer(send(), release) : send, refusal)
    }
  const restore = wrapped(target, names, checking)
  return { tx, revoke: (allowed) => passing.revoke(allowed), release }
}

/** Before the library goes on: the connection may get another transaction then. */
function afterAnswer(answer: unknown, release: () => void): unknown {
  if (answer instanceof Promise) return answer.finally(release)
  release()
  return answer
}

/** Sends a statement that the gate admits. */
export function checked(
  passing: Gate,
  statement: unknown,
  send: () => unknown,
  refusal: Refusal = 'rejects',
): unknown {
  try {
    passing.admit(textOf(statement))
  } catch (error) {
    if (refusal === 'throws') throw error
    return Promise.reject(error)
  }
  return send()
}

/** Both at once. */
export function lendBoth<Tx>(first: Lent<Tx>, second: Lent<unknown>): Lent<Tx> {
  return {
    tx: first.tx,
    revoke(passing) {
      second.revoke(passing)
      first.revoke(passing)
    },
    release() {
      second.release?.()
      first.release?.()
    },
  }
}

/**
 * The text of what a library takes for a statement: a text, an object that has one as `text` or
 * `sql`, a cursor, or the parts of a template.
 */
export function textOf(statement: unknown): string | undefined {
  if (typeof statement === 'string') return statement
  if (Array.isArray(statement)) return statement.join('?')
  if (typeof statement !== 'object' || statement === null) return undefined
  const { sql, text, cursor } = statement as { sql?: unknown; text?: unknown; cursor?: unknown }
  return [sql, text].find((one) => typeof one === 'string') ?? textOf(cursor)
}

/** Wraps those methods of these names that the target has; the result undoes that. */
export function wrapped(
  target: object,
  names: readonly string[],
  wrap: (method: Method) => Method,
): () => void {
  const made = names.flatMap((name) => {
    const method: unknown = Reflect.get(target, name)
    return typeof method === 'function' ? [[name, wrap(method as Method)] as const] : []
  })
  return replaced(target, Object.fromEntries(made))
}

/**
 * Puts methods of our own in the place of others; the result undoes that, once, where they still
 * are.
 */
export function replaced(target: object, made: Readonly<Record<string, Method>>): () => void {
  const before = Object.keys(made).map(
    (name) => [name, Object.getOwnPropertyDescriptor(target, name)] as const,
  )
  for (const [name, value] of Object.entries(made))
    Object.defineProperty(target, name, { value, configurable: true, writable: true })
  return () => {
    for (const [name, descriptor] of before.splice(0)) {
      if (Reflect.get(target, name) !== made[name]) continue
      if (descriptor === undefined) Reflect.deleteProperty(target, name)
      else Object.defineProperty(target, name, descriptor)
    }
  }
}
