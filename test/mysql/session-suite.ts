import { afterAll, describe, expect, test, vi } from 'vitest'
import { Mersal } from '../../src/index.ts'
import { memoryTransport } from '../../src/memory.ts'
import { mysql } from '../../src/mysql.ts'
import {
  type LibraryUnderTest,
  sessionScenarios,
  type SuiteStore,
} from '../postgres/session-suite.ts'
import { Order } from '../postgres/forgotten.ts'
import { reusedDatabases, serverAnswers, testDatabase, type TestDatabase } from './server.ts'

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

/** Statements before which MySQL commits, and those that are comments elsewhere. */
const endings = [
  'create table t (a int)',
  'create table temporary (a int)',
  'truncate table business',
  'lock tables business write',
  'set autocommit = 1',
  'set statement max_statement_time = 1 for commit',
  'begin not atomic commit; end',
  'xa start "x"',
  '/*!40000 commit */',
  '/*M!100300 rollback */',
]

const hidden = [
  'commit',
  'commit; start transaction',
  'create view v as select 1',
  'set autocommit = 0; analyze table business; select * from business',
]

function mysqlEndings<Tx>(
  connect: (database: TestDatabase) => Promise<LibraryUnderTest<Tx>>,
): void {
  const end = async (library: LibraryUnderTest<Tx>, tx: Tx, text: string): Promise<void> => {
    if (!('end' in library)) throw new Error('every library runs raw statements')
    await library.end?.(tx, text)
  }

  test('P1: no statement that ends the transaction without a word is sent', async () => {
    await using database = await testDatabase()
    const library = await connect(database)
    await using store = mysql({ pool: database.pool, session: library.session })
    await store.open()
    await store.unitOfWork(async (tx) => {
      await library.insert(tx, 'one')
      for (const text of endings)
        await expect(end(library, tx, text), text).rejects.toMatchObject({
          code: 'MERSAL_TRANSACTION_IS_OURS',
        })
      await end(library, tx, 'create temporary table t (a int)')
    })
    expect(await onMysql(database).business()).toEqual(['one'])
    await library.close()
  })

  test.each(hidden)(
    'P4: a handler whose procedure runs %j becomes a dead letter, and its record leaves the inbox',
    async (body) => {
      await using database = await testDatabase()
      await database.query(`create procedure ends() begin ${body}; end`)
      const library = await connect(database)
      await using store = mysql({ pool: database.pool, session: library.session })
      const transport = memoryTransport()
      const app = new Mersal<Tx>({ name: 'shop', store, transport, logger: false })
      app.handle(Order, async (_message, { tx }) => end(library, tx, 'call ends()'))
      await app.start()
      await app.transaction((_tx, { send }) => send(Order, { n: 1 }))
      const letters = () => transport.deadLetters.list()
      const timeout = { timeout: 10_000 }
      await vi.waitFor(
        async () => expect(await letters()).toMatchObject([{ reason: 'transaction-ended' }]),
        timeout,
      )
      await vi.waitFor(async () => expect(await onMysql(database).recorded()).toBe(0), timeout)
      await app.stop()
      await library.close()
    },
  )
}

/** The scenarios of a session, with the real library on a real MariaDB. */
export function mysqlSessionSuite<Tx>(
  name: string,
  connect: (database: TestDatabase) => Promise<LibraryUnderTest<Tx>>,
): void {
  describe.skipIf(!present)(`session of ${name} on MySQL`, () => {
    const databases = reusedDatabases()
    afterAll(() => databases[Symbol.asyncDispose]())
    sessionScenarios(async () => {
      const database = await databases.next()
      return {
        database: onMysql(database),
        library: { ...(await connect(database)), failsAlone: true as const },
      }
    })
    mysqlEndings(connect)
  })
}
