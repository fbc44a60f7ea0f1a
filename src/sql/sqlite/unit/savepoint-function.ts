import type { SqliteDatabase } from '../connection/database.ts'
import type { Gate } from './gate.ts'

type Work = (this: unknown, ...given: unknown[]) => unknown

let made = 0

/** `transaction` of better-sqlite3 inside of a transaction: a function that runs in a savepoint. */
export function savepointFunction(native: SqliteDatabase, gate: Gate): (work: Work) => Work {
  const execute = (sql: string): void => {
    const controls = gate.admit(sql)
    gate.run(controls, () => native.exec(sql))
  }
  return (work) => {
    if (typeof work !== 'function') throw new TypeError('Expected first argument to be a function')
    const inSavepoint: Work = function (this: unknown, ...given) {
      const name = `mersal_t${++made}`
      execute(`SAVEPOINT ${name}`)
      try {
        const result = Reflect.apply<unknown, unknown[], unknown>(work, this, given)
        if (typeof (result as PromiseLike<unknown> | null | undefined)?.then === 'function') {
          throw new TypeError('Transaction function cannot return a promise')
        }
        execute(`RELEASE ${name}`)
        return result
      } catch (error) {
        execute(`ROLLBACK TO ${name}`)
        execute(`RELEASE ${name}`)
        throw error
      }
    }
    const kinds = ['default', 'deferred', 'immediate', 'exclusive']
    for (const kind of kinds) Object.defineProperty(inSavepoint, kind, { value: inSavepoint })
    return Object.defineProperty(inSavepoint, 'database', { value: gate.tx })
  }
}
