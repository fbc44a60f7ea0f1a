import { type Dialect, postgresDialect } from '../../units/statement-scan.ts'
import { endingOf, handleRevoked, transactionIsOurs } from '../../units/transaction-words.ts'

/** How the handle of a library is lent to the work of a unit. */
export interface Lent<Tx> {
  /** What the work gets in place of the handle. */
  readonly tx: Tx
  /**
   * Called before the library ends the transaction: from now on the handle does nothing for the
   * work.
   */
  readonly revoke: () => void
}

/** Lets the statements of a unit through, as long as it is open. */
export interface Gate {
  /**
   * Throws for a statement that would end the transaction, and for every one after the end of the
   * unit.
   */
  admit(text: unknown): void
  readonly revoked: boolean
  revoke(): void
}

export function gate(library: string, dialect: Dialect = postgresDialect): Gate {
  let revoked = false
  return {
    admit(text) {
      if (revoked) throw handleRevoked(library)
      const ending = typeof text === 'string' ? endingOf(text, dialect) : undefined
      if (ending !== undefined) throw transactionIsOurs(`${library}: ${ending.toUpperCase()}`)
    },
    get revoked() {
      return revoked
    },
    revoke: () => void (revoked = true),
  }
}

type Method = (this: unknown, ...given: never[]) => unknown

/**
 * Refuses these methods of a handle while its unit is open; the library calls them itself
 * afterwards.
 */
export function lendWithout<Tx extends object>(
  library: string,
  tx: Tx,
  names: readonly string[],
): Lent<Tx> {
  const refusing = (name: string) => (): Promise<never> =>
    Promise.reject(transactionIsOurs(`${library}: ${name}()`))
  const made = Object.fromEntries(names.map((name) => [name, refusing(name)]))
  return { tx, revoke: replaced(tx, made) }
}

/** What a method of the library does with a statement that it must not send. */
export type Refusal = 'throws' | 'rejects'

export interface CheckedOptions {
  readonly refusal?: Refusal
  /** Default: that of PostgreSQL. */
  readonly dialect?: Dialect | undefined
}

/**
 * Looks at each statement that these methods of an object are given while the unit is open. They
 * belong to one transaction alone: to its handle, or to its connection.
 */
export function lendChecked<Tx>(
  library: string,
  tx: Tx,
  target: object,
  names: readonly string[],
  { refusal = 'rejects', dialect }: CheckedOptions = {},
): Lent<Tx> {
  const passing = gate(library, dialect)
  const checking = (method: Method): Method =>
    function (this: unknown, ...given) {
      return checked(passing, given[0], () => Reflect.apply(method, this, given), refusal)
    }
  const made = names.flatMap((name) => {
    const method: unknown = Reflect.get(target, name)
    return typeof method === 'function' ? [[name, checking(method as Method)] as const] : []
  })
  return { tx, revoke: replaced(target, Object.fromEntries(made)) }
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
    revoke() {
      second.revoke()
      first.revoke()
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

/** Puts methods of our own in the place of others; the result undoes that. */
export function replaced(target: object, made: Readonly<Record<string, Method>>): () => void {
  const before = Object.keys(made).map(
    (name) => [name, Object.getOwnPropertyDescriptor(target, name)] as const,
  )
  for (const [name, value] of Object.entries(made))
    Object.defineProperty(target, name, { value, configurable: true, writable: true })
  return () => {
    for (const [name, descriptor] of before) {
      if (descriptor === undefined) Reflect.deleteProperty(target, name)
      else Object.defineProperty(target, name, descriptor)
    }
  }
}
