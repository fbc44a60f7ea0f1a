import type { SagaKey, SagaRecord, SagaStore } from '../../core/records/sagas.ts'
import type { DatabaseState } from './database.ts'
import { assertOpen, lock, type MemoryTransaction, openTransaction } from './unit/transaction.ts'

export function memorySagas(database: DatabaseState): SagaStore<MemoryTransaction> {
  return {
    open: () => Promise.resolve(),
    async load(tx, key) {
      const state = openTransaction(database, tx)
      const name = nameOf(key)
      await database.pause('saga')
      assertOpen(state)
      await lock(state, `saga ${name}`)
      return state.sagas.has(name) ? state.sagas.get(name) : database.sagas.get(name)
    },
    async store(tx, key, instance) {
      const state = openTransaction(database, tx)
      await database.pause('saga')
      assertOpen(state)
      state.sagas.set(nameOf(key), instance && { ...key, ...instance })
    },
    async list({ app, saga, key, after, limit }) {
      await database.pause('read')
      const matches = (record: SagaRecord): boolean =>
        (app === undefined || record.app === app) &&
        (saga === undefined || record.saga === saga) &&
        (key === undefined || record.key === key) &&
        (after === undefined || compare(record, after) > 0)
      return [...database.sagas.values()].filter(matches).sort(compare).slice(0, limit)
    },
  }
}

const nameOf = ({ app, saga, key }: SagaKey): string => JSON.stringify([app, saga, key])

/** By the bytes of UTF-8, as databases do. */
function compare(left: SagaKey, right: SagaKey): number {
  return (
    Buffer.compare(Buffer.from(left.app), Buffer.from(right.app)) ||
    Buffer.compare(Buffer.from(left.saga), Buffer.from(right.saga)) ||
    Buffer.compare(Buffer.from(left.key), Buffer.from(right.key))
  )
}
