import { MersalError } from '../../../core/errors/errors.ts'
import type { MysqlConnection } from '../../../sql/mysql/client.ts'
import { runOn } from '../../../sql/mysql/executor.ts'
import type { Lane } from '../save.ts'
import { unitHandleOf } from './unit-handle.ts'

const refused = (text: string): MersalError => new MersalError('MERSAL_NOT_A_TRANSACTION', text)

const has = (value: object, name: string): boolean =>
  typeof (value as Record<string, unknown>)[name] === 'function'

/**
 * How a connection of `mysql2` is worked with. Whether its transaction is open is told by the
 * server, in each statement. Throws `MERSAL_NOT_A_TRANSACTION` for what is no connection, and for
 * the handle of a unit that has ended.
 */
export function connectionLane(freshSnapshots: boolean): (tx: MysqlConnection) => Lane {
  return (tx) => {
    const unit = unitHandleOf(tx)
    if (unit?.revoked === true)
      throw refused('mysql: the unit of this transaction has ended: await every call inside')
    if (unit !== undefined) {
      const run: Lane['run'] = (text, values, options) =>
        unit.send((connection) => runOn(connection)(text, values, options) as never)
      return { run, asText: false, freshSnapshots }
    }
    const given: unknown = tx
    if (typeof given !== 'object' || given === null || !has(given, 'execute'))
      throw refused(NO_CONNECTION)
    if (!has(given, 'beginTransaction') || has(given, 'promise')) throw refused(NO_CONNECTION)
    return { run: runOn(tx), asText: false, freshSnapshots: false }
  }
}

const NO_CONNECTION =
  "mysql: expected a promise connection of 'mysql2' with an open transaction, as pool.getConnection() of mysql2/promise hands out; a pool has no transaction of its own"
