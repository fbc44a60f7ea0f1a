import type { PostgresPool } from '../client.ts'

/** Pools whose clients take turns on one connection: a transaction keeps all others waiting. */
export const oneConnection: WeakSet<PostgresPool> = new WeakSet()

/** Such a pool, or one of `pg` that opens no second connection. */
export function isSingle(pool: PostgresPool): boolean {
  const { options } = pool as { options?: { readonly max?: unknown } }
  return oneConnection.has(pool) || options?.max === 1
}
