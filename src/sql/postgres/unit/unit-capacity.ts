import type { PoolUse, UnitCapacity } from '../../../core/store.ts'
import type { PostgresPool } from '../client.ts'

/** What a pool of `pg` tells of itself. */
interface Counted {
  readonly options?: { readonly max?: unknown }
  readonly totalCount?: unknown
  readonly idleCount?: unknown
  readonly waitingCount?: unknown
}

/** Connections that units hold, by pool: several stores may share one. */
const held = new WeakMap<PostgresPool, number>()

/** Notes that a unit holds a connection of this pool, until it is disposed of. */
export function holding(pool: PostgresPool): Disposable {
  held.set(pool, (held.get(pool) ?? 0) + 1)
  return { [Symbol.dispose]: () => void held.set(pool, (held.get(pool) ?? 1) - 1) }
}

/** Whether the pool has a connection at hand. */
export function hasIdle(pool: PostgresPool): boolean {
  const { idleCount } = pool as Counted
  return typeof idleCount === 'number' && idleCount > 0
}

/** Of units whose connections come from this pool. */
export function capacityOf(pool: PostgresPool): UnitCapacity {
  const counted = pool as Counted
  return {
    get most() {
      const max = counted.options?.max
      return typeof max === 'number' && Number.isInteger(max) && max > 0 ? max : undefined
    },
    use() {
      const { totalCount: open, idleCount: idle, waitingCount: waiting } = counted
      const known = [open, idle, waiting].every((count) => typeof count === 'number')
      return known ? ({ open, idle, waiting } as PoolUse) : undefined
    },
    shortage() {
      const { totalCount, idleCount, waitingCount } = counted
      const units = held.get(pool) ?? 0
      if (typeof totalCount !== 'number' || typeof waitingCount !== 'number') return undefined
      if (units === 0 || waitingCount === 0 || idleCount !== 0 || units < totalCount)
        return undefined
      return (
        `All ${totalCount} connections of the pool are held by transactions of the app, and ${waitingCount} more are asked for: ` +
        'work that takes a second connection of the same pool (pool.query) in its transaction may wait for itself. ' +
        'Use tx there, or give the pool more connections (max)'
      )
    },
  }
}
