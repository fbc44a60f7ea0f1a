import { describe } from 'vitest'
import { mysql } from '../../src/mysql.ts'
import {
  type LibraryUnderTest,
  sessionScenarios,
  type SuiteStore,
} from '../postgres/session-suite.ts'
import { serverAnswers, testDatabase, type TestDatabase } from './server.ts'

const present = await serverAnswers()

function onMysql(database: TestDatabase): SuiteStore {
  const { pool, query } = database
  return {
    store: (session) => mysql({ pool, session }),
    business: async () =>
      (await query('select text from business order by text')).map((row) => String(row['text'])),
    messages: async () =>
      (await query('select body from mersal_outbox order by position')).map((row) =>
        String(row['body']),
      ),
    recorded: async () =>
      Number((await query('select count(*) as n from mersal_inbox'))[0]?.['n'] ?? 0),
    [Symbol.asyncDispose]: () => database[Symbol.asyncDispose](),
  }
}

/** The scenarios of a session, with the real library on a real MariaDB. */
export function mysqlSessionSuite<Tx>(
  name: string,
  connect: (database: TestDatabase) => Promise<LibraryUnderTest<Tx>>,
): void {
  describe.skipIf(!present)(`session of ${name} on MySQL`, () => {
    sessionScenarios(async () => {
      const database = await testDatabase()
      return {
        database: onMysql(database),
        library: { ...(await connect(database)), failsAlone: true as const },
      }
    })
  })
}
