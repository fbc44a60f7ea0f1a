import type { OnceKey, OnceStore } from '../../core/records/once.ts'
import type { DatabaseState } from './database.ts'
import { assertOpen, type MemoryTransaction, openTransaction, tryLock } from './unit/transaction.ts'

export function memoryOnce(database: DatabaseState): OnceStore<MemoryTransaction> {
  return {
    open: () => Promise.resolve(),
    async claim(tx, key, { fingerprint, keepMs }) {
      const state = openTransaction(database, tx)
      const name = nameOf(key)
      await database.pause('once')
      assertOpen(state)
      const row = state.once.get(name) ?? database.once.get(name)
      if (row !== undefined) return { kind: 'kept', ...row }
      if (!tryLock(state, `once ${name}`)) return { kind: 'running' }
      const expiresAt = database.clock.now() + keepMs
      state.once.set(name, { fingerprint, response: undefined, expiresAt })
      return { kind: 'first' }
    },
    async keep(tx, key, response) {
      const state = openTransaction(database, tx)
      await database.pause('once')
      assertOpen(state)
      const row = state.once.get(nameOf(key))
      if (row === undefined) throw new TypeError('keep() came without a claim')
      state.once.set(nameOf(key), { ...row, response })
    },
    async prune({ limit, longerMs = 0 }) {
      await database.pause('prune')
      const before = database.clock.now() - longerMs
      const over = [...database.once].filter(([, row]) => row.expiresAt < before).slice(0, limit)
      for (const [name] of over) database.once.delete(name)
      return over.length
    },
  }
}

const nameOf = ({ app, scope, key }: OnceKey): string => JSON.stringify([app, scope, key])
