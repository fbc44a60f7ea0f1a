import { MersalError } from '../../core/errors/errors.ts'
import type { Savepoints } from '../../core/store.ts'
import { libraryUnitOf } from './library-unit.ts'

let made = 0

/** Savepoints in units whose transactions a library opens, and whose statements nobody shows us. */
export const librarySavepoints: Savepoints<unknown> = {
  async open(tx) {
    const executor = libraryUnitOf(tx)?.executor
    if (executor === undefined)
      throw new MersalError(
        'MERSAL_NOT_A_TRANSACTION',
        'savepoint(): this is no transaction of a unit',
      )
    const name = `mersal_${++made}`
    const run = async (text: string): Promise<void> => void (await executor.query(text))
    await run(`savepoint ${name}`)
    return {
      release: () => run(`release savepoint ${name}`),
      async rollBack() {
        await run(`rollback to savepoint ${name}`)
        await run(`release savepoint ${name}`)
      },
    }
  },
  mark: (tx, number) => libraryUnitOf(tx)?.mark(number),
  kept: async (tx) => await libraryUnitOf(tx)?.kept(),
}
