import type { Savepoints } from '../../../core/store.ts'
import type { PostgresClient } from '../client.ts'
import { transactionEnded } from '../../units/transaction-words.ts'
import { unitHandleOf } from './unit-handle.ts'

let made = 0

/** Every statement of the unit passes its handle, so that nothing has to be asked. */
export const clientSavepoints: Savepoints<PostgresClient> = {
  async open(tx) {
    const name = `mersal_${++made}`
    await tx.query(`savepoint ${name}`)
    return {
      release: async () => void (await tx.query(`release savepoint ${name}`)),
      rollBack: async () =>
        void (await tx.query(`rollback to savepoint ${name}; release savepoint ${name}`)),
    }
  },
  mark(tx, number) {
    unitHandleOf(tx)?.log.mark(number)
    return undefined
  },
  kept(tx) {
    const handle = unitHandleOf(tx)
    if (handle === undefined) return Promise.resolve(undefined)
    if (handle.ended() || tx.getTransactionStatus() === 'I')
      return Promise.reject(transactionEnded('postgres'))
    return Promise.resolve(handle.log.kept())
  },
}
