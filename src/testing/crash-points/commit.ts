import { overlay } from './overlay.ts'
import { type CrashPoint, phase } from './points.ts'

/**
 * Wraps a handle of `node:sqlite` or better-sqlite3 so that `at` is called right after a COMMIT has
 * been executed by a unit of work of a store that has its points too: P5, or C6 while a delivery is
 * handled. The database is synchronous, so `at` must end the process, block, or throw; what it
 * returns is not waited for.
 */
export function commitPoints<
  Database extends { exec(sql: string): unknown; prepare(sql: string): object },
>(database: Database, at: (point: CrashPoint) => void): Database {
  const reached = (): void => {
    const current = phase.getStore()
    if (current === 'producer') at('P5')
    else if (current === 'consumer') at('C6')
  }
  const isCommit = (sql: string): boolean => /^\s*(?:commit|end)\b/i.test(sql)
  return overlay(database, {
    exec: (sql: string): unknown => {
      const result = database.exec(sql)
      if (isCommit(sql)) reached()
      return result
    },
    prepare: (sql: string): object => {
      const statement = database.prepare(sql)
      return isCommit(sql) ? statementWithPoint(statement as CommitStatement, reached) : statement
    },
  } as Partial<Database>)
}

interface CommitStatement {
  run(...parameters: unknown[]): unknown
}

function statementWithPoint(statement: CommitStatement, reached: () => void): CommitStatement {
  return overlay(statement, {
    run: (...parameters) => {
      const result = statement.run(...parameters)
      reached()
      return result
    },
  })
}
