import { handleRevoked } from '../../units/transaction-words.ts'
import { type Gate, type Lent, gate } from './lent.ts'

type Sql = ((...given: unknown[]) => unknown) & Record<string, unknown>

/** Sent only when somebody waits for it, which may be after the end of the unit. */
interface Query {
  handler: (query: Query) => unknown
  reject(error: Error): void
}

/**
 * Statements on a transaction of postgres.js that has ended are never answered, or run on their
 * own.
 */
export function lendPostgresJs<Tx>(tx: Tx): Lent<Tx> {
  const passing = gate('postgres.js')
  return { tx: guarded(tx as Sql, passing) as Tx, revoke: () => passing.revoke([]) }
}

function guarded(sql: Sql, passing: Gate): Sql {
  const lent = ((...given: unknown[]): unknown => {
    const [first] = given
    const text = Array.isArray(first) && 'raw' in first ? first.join('?') : undefined
    return text === undefined ? sql(...given) : checked(() => sql(...given), text, passing)
  }) as Sql
  Object.defineProperties(lent, Object.getOwnPropertyDescriptors(sql))
  const own = (name: string, value: unknown): unknown =>
    Object.defineProperty(lent, name, { value, configurable: true })
  const { unsafe, file, savepoint } = sql as Record<string, (...given: unknown[]) => unknown>
  if (unsafe !== undefined)
    own('unsafe', (...given: unknown[]) => checked(() => unsafe(...given), given[0], passing))
  if (file !== undefined)
    own('file', (...given: unknown[]) => checked(() => file(...given), undefined, passing))
  const inside = (given: unknown): unknown => {
    return typeof given === 'function'
      ? (inner: Sql): unknown => (given as Sql)(guarded(inner, passing))
      : given
  }
  if (savepoint !== undefined)
    own('savepoint', (...given: unknown[]) => savepoint(...given.map(inside)))
  return lent
}

function checked(make: () => unknown, text: unknown, passing: Gate): unknown {
  try {
    passing.admit(text)
  } catch (error) {
    return Promise.reject(error)
  }
  const query = make() as Query
  const { handler } = query
  query.handler = (sent) =>
    passing.revoked ? sent.reject(handleRevoked('postgres.js')) : handler(sent)
  return query
}
