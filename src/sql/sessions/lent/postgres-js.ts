import { handleRevoked } from '../../units/transaction-words.ts'
import { type Gate, type Lent, checked, gate } from './lent.ts'

/** A transaction of postgres.js, or a savepoint of it. */
export type Sql = ((...given: unknown[]) => unknown) & Record<string, unknown>

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
  return { tx: guardedSql(tx as Sql, passing) as Tx, revoke: () => passing.revoke([]) }
}

/** Statements, also of savepoints inside of it, go through the gate. */
export function guardedSql(sql: Sql, passing: Gate): Sql {
  const sending = (text: unknown, make: () => unknown): unknown =>
    checked(passing, text, () => held(make(), passing))
  const lent = ((...given: unknown[]): unknown => {
    const [first] = given
    const text = Array.isArray(first) && 'raw' in first ? first.join('?') : undefined
    return text === undefined ? sql(...given) : sending(text, () => sql(...given))
  }) as Sql
  Object.defineProperties(lent, Object.getOwnPropertyDescriptors(sql))
  const own = (name: string, value: unknown): unknown =>
    Object.defineProperty(lent, name, { value, configurable: true })
  const { unsafe, file, savepoint } = sql as Record<string, (...given: unknown[]) => unknown>
  if (unsafe !== undefined)
    own('unsafe', (...given: unknown[]) => sending(given[0], () => unsafe(...given)))
  if (file !== undefined)
    own('file', (...given: unknown[]) => sending(undefined, () => file(...given)))
  if (savepoint !== undefined) own('savepoint', lentSavepoint(savepoint, passing))
  return lent
}

/**
 * postgres.js sends `rollback to` when the work of a savepoint fails, on a connection that serves
 * somebody else if the unit has ended meanwhile. So the library does not hear of such an end.
 */
function lentSavepoint(savepoint: (...given: unknown[]) => unknown, passing: Gate) {
  return (...given: unknown[]): Promise<unknown> => {
    if (passing.revoked) return Promise.reject(handleRevoked('postgres.js'))
    const last = given.at(-1)
    const [work, names] =
      typeof last === 'function'
        ? [last as (inner: Sql) => unknown, given.slice(0, -1)]
        : [(inner: Sql) => inner(...given), []]
    const { promise, resolve, reject } = Promise.withResolvers<unknown>()
    const lent = async (inner: Sql): Promise<unknown> => {
      const [outcome] = await Promise.allSettled([allOf(work, guardedSql(inner, passing))])
      if (!passing.revoked && outcome.status === 'fulfilled') return outcome.value
      const reason: unknown = outcome.status === 'rejected' ? outcome.reason : undefined
      if (!passing.revoked) throw reason
      reject(reason ?? handleRevoked('postgres.js'))
      return await new Promise<never>(() => {})
    }
    Promise.resolve(savepoint(...names, lent)).then(resolve, reject)
    return promise
  }
}

/** The library waits for all of an array. */
async function allOf(work: (inner: Sql) => unknown, inner: Sql): Promise<unknown> {
  const made = await work(inner)
  return Array.isArray(made) ? await Promise.all(made) : made
}

/** The answer of a statement that is sent too late is the refusal. */
function held(made: unknown, passing: Gate): unknown {
  const query = made as Query
  const { handler } = query
  query.handler = (sent) =>
    passing.revoked ? sent.reject(handleRevoked('postgres.js')) : handler(sent)
  return query
}
