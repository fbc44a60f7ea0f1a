import type { Savepoints } from '../../../core/store.ts'
import type { SqliteDatabase } from '../connection/database.ts'
import { unitHandleOf } from './unit-handle.ts'

let made = 0

/** Every statement of the unit passes its handle, so that nothing has to be asked. */
export const sqliteSavepoints: Savepoints<SqliteDatabase> = {
  async open(tx) {
    const name = `mersal_${++made}`
    tx.exec(`SAVEPOINT ${name}`)
    return {
      release: async () => void tx.exec(`RELEASE ${name}`),
      rollBack: async () => void tx.exec(`ROLLBACK TO ${name}; RELEASE ${name}`),
    }
  },
  mark(tx, number) {
    unitHandleOf(tx)?.log.mark(number)
    return undefined
  },
  async kept(tx) {
    const unit = unitHandleOf(tx)
    unit?.assertWhole()
    return unit?.log.kept()
  },
}
