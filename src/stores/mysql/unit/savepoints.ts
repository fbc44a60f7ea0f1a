import type { Savepoints } from '../../../core/store.ts'
import type { MysqlConnection } from '../../../sql/mysql/client.ts'
import { unitHandleOf } from './unit-handle.ts'

let made = 0

/** Every statement of the unit passes its handle, so that nothing has to be asked. */
export const connectionSavepoints: Savepoints<MysqlConnection> = {
  async open(tx) {
    const name = `mersal_${++made}`
    await tx.query(`savepoint ${name}`)
    return {
      release: async () => void (await tx.query(`release savepoint ${name}`)),
      async rollBack() {
        await tx.query(`rollback to savepoint ${name}`)
        await tx.query(`release savepoint ${name}`)
      },
    }
  },
  mark(tx, number) {
    unitHandleOf(tx)?.log.mark(number)
    return undefined
  },
  async kept(tx) {
    const handle = unitHandleOf(tx)
    await handle?.assertWhole()
    return handle?.log.kept()
  },
}
