import type { Dialect } from '../../units/statement-scan.ts'
import { handleRevoked } from '../../units/transaction-words.ts'
import { type Gate, type Lent, gate } from './lent.ts'
import { guardedSql, type Sql } from './postgres-js.ts'

type Method = (...given: unknown[]) => unknown

/**
 * Everything that a transaction of Drizzle sends is prepared by its session, also in transactions
 * inside of it. Those of postgres.js have sessions of their own, on a client for each savepoint.
 */
export function lendDrizzle<Tx extends object>(tx: Tx, dialect?: Dialect): Lent<Tx> {
  const passing = gate('drizzle', { dialect })
  return { tx: guardedTransaction(tx, passing), revoke: () => passing.revoke([]) }
}

function guardedTransaction<Tx extends object>(tx: Tx, passing: Gate): Tx {
  const { session } = tx as { session?: unknown }
  if (typeof session !== 'object' || session === null) return tx
  const guarded = Object.create(session) as Record<string, unknown>
  for (const name of methodsOf(session)) {
    if (name.startsWith('prepare')) guarded[name] = preparing(session, name, passing)
  }
  const lent = Object.create(tx, { session: { value: guarded } }) as Tx
  const { client } = session as { readonly client?: unknown }
  if (isPostgresJs(client)) {
    guarded['client'] = guardedSql(client, passing)
    Object.defineProperty(lent, 'transaction', { value: insideOf(tx, lent, passing) })
  }
  return lent
}

const isPostgresJs = (client: unknown): client is Sql =>
  typeof client === 'function' && 'savepoint' in client

/** Transactions inside of one on postgres.js. */
function insideOf(tx: object, lent: object, passing: Gate): Method {
  const { transaction } = tx as { readonly transaction: Method }
  return (work) =>
    transaction.call(lent, (inner: object) => (work as Method)(guardedTransaction(inner, passing)))
}

function methodsOf(object: object): string[] {
  const names = new Set<string>()
  for (
    let at: object | null = object;
    at !== null && at !== Object.prototype;
    at = Object.getPrototypeOf(at) as object | null
  ) {
    for (const name of Object.getOwnPropertyNames(at)) names.add(name)
  }
  return [...names].filter(
    (name) => typeof (object as Record<string, unknown>)[name] === 'function',
  )
}

function preparing(session: object, name: string, passing: Gate): Method {
  const prepare = (session as Record<string, Method>)[name] as Method
  return (...given) => {
    passing.admit((given[0] as { sql?: unknown } | undefined)?.sql)
    const prepared = Reflect.apply(prepare, session, given) as Record<string, unknown>
    const { execute } = prepared
    if (typeof execute !== 'function') return prepared
    prepared['execute'] = (...values: unknown[]): unknown =>
      passing.revoked
        ? Promise.reject(handleRevoked('drizzle'))
        : (Reflect.apply(execute, prepared, values) as unknown)
    return prepared
  }
}
