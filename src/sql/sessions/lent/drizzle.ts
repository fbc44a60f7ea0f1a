import type { Dialect } from '../../units/statement-scan.ts'
import { handleRevoked } from '../../units/transaction-words.ts'
import { type Gate, type Lent, gate } from './lent.ts'

type Method = (...given: unknown[]) => unknown

/**
 * Everything that a transaction of Drizzle sends is prepared by its session, also in transactions
 * inside of it.
 */
export function lendDrizzle<Tx extends object>(tx: Tx, dialect?: Dialect): Lent<Tx> {
  const { session } = tx as { session?: unknown }
  if (typeof session !== 'object' || session === null) return { tx, revoke: () => {} }
  const passing = gate('drizzle', { dialect })
  const guarded = Object.create(session) as Record<string, unknown>
  for (const name of methodsOf(session)) {
    if (name.startsWith('prepare')) guarded[name] = preparing(session, name, passing)
  }
  const lent = Object.create(tx, { session: { value: guarded } }) as Tx
  return { tx: lent, revoke: () => passing.revoke([]) }
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
