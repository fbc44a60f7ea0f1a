import { sql as drizzleSql } from 'drizzle-orm'
import { drizzle as connectDrizzle } from 'drizzle-orm/postgres-js'
import postgresLibrary, { type Sql, type TransactionSql } from 'postgres'
import { describe, expect, test } from 'vitest'
import { command, type CommandType, Mersal, type Store } from '../../../src/index.ts'
import { memoryTransport } from '../../../src/memory.ts'
import { postgres, type Session } from '../../../src/postgres.ts'
import { drizzle } from '../../../src/sql/sessions/drizzle.ts'
import { postgresJs } from '../../../src/sql/sessions/postgres-js.ts'
import { serverAnswers, serverUrl, testDatabase } from '../../postgres/database.ts'

const here = await serverAnswers()

/** A command whose schema answers when the test says so. */
function held(): { readonly Held: CommandType<{ n: number }>; readonly release: () => void } {
  const { promise, resolve } = Promise.withResolvers<void>()
  const Held = command<{ n: number }>('orders.place', {
    '~standard': {
      version: 1,
      vendor: 'test',
      validate: async (value: unknown) => {
        await promise
        return { value: value as { n: number } }
      },
    },
  })
  return { Held, release: resolve }
}

/** How a transaction is opened, with postgres.js alone or below Drizzle. */
interface Library {
  readonly session: Session<never>
  /** `inside` gets the handle of the library, and that of postgres.js. */
  readonly transaction: (
    inside: (tx: never, driver: TransactionSql) => Promise<void>,
  ) => Promise<void>
}

const libraries: Readonly<Record<string, (sql: Sql) => Library>> = {
  'postgres.js': (sql) => ({
    session: postgresJs<TransactionSql>(sql) as unknown as Session<never>,
    transaction: async (inside) => {
      await sql.begin((tx) => inside(tx as never, tx))
    },
  }),
  'Drizzle with postgres.js': (sql) => {
    const db = connectDrizzle({ client: sql })
    type Inner = { readonly session: { readonly client: TransactionSql } }
    return {
      session: drizzle(db, { sql: drizzleSql }) as unknown as Session<never>,
      transaction: (inside) =>
        db.transaction((tx) => inside(tx as never, (tx as unknown as Inner).session.client)),
    }
  },
}

interface World extends AsyncDisposable, Library {
  readonly app: Mersal<never>
  /** A pool of postgres.js with a single connection. */
  readonly sql: Sql
  readonly schema: string
  readonly stored: () => Promise<number>
}

async function world(library: (sql: Sql) => Library): Promise<World> {
  const stack = new AsyncDisposableStack()
  const { schema, pool, query } = stack.use(await testDatabase())
  const sql = postgresLibrary(serverUrl, { max: 1, onnotice: () => {} })
  // A pool that has lost its connection does not end by itself.
  stack.defer(() => sql.end({ timeout: 1 }))
  const { session, transaction } = library(sql)
  const store: Store<never> = stack.use(postgres<never>({ pool, schema, session }))
  const app = new Mersal<never>({
    name: 'shop',
    store,
    transport: memoryTransport(),
    routes: { 'orders.place': 'office' },
    outbox: { runRelay: false },
    sendOnly: true,
    logger: false,
  })
  await app.start()
  stack.defer(() => app.stop())
  const stored = async (): Promise<number> =>
    Number((await query(`select count(*)::text as n from ${schema}.outbox`))[0]?.['n'])
  return {
    app,
    sql,
    schema,
    stored,
    session,
    transaction,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}

/** The mark of a call is in its transaction when a statement behind it has been answered. */
const untilMarked = async (driver: TransactionSql): Promise<unknown> => driver`select 1`

for (const [name, library] of Object.entries(libraries)) {
  describe.skipIf(!here)(`P3: a call of within() that comes late, with ${name}`, () => {
    test('is refused while the connection works for somebody else, instead of never being answered', async () => {
      await using place = await world(library)
      const { app, sql, stored, transaction } = place
      const { Held, release } = held()
      let call: Promise<string> | undefined
      await transaction(async (tx, driver) => {
        call = app.within(tx).send(Held, { n: 1 })
        await untilMarked(driver)
      })
      const other = sql`select pg_sleep(${1}::float8)`.execute()
      release()
      await expect(call).rejects.toMatchObject({ code: 'MERSAL_NOT_A_TRANSACTION' })
      await other
      expect(await stored()).toBe(0)
    })

    test('is refused when it comes during the COMMIT', async () => {
      await using place = await world(library)
      const { app, sql, schema, stored, transaction } = place
      await sql.unsafe(`create function ${schema}.wait() returns trigger language plpgsql
        as $$ begin perform pg_sleep(0.5); return null; end $$;
        create constraint trigger wait after insert on ${schema}.business
        deferrable initially deferred for each row execute function ${schema}.wait()`)
      const { Held, release } = held()
      let call: Promise<string> | undefined
      const ended = transaction(async (tx, driver) => {
        call = app.within(tx).send(Held, { n: 1 })
        await untilMarked(driver)
        await driver.unsafe(`insert into ${schema}.business values ('one')`)
        // Nobody waits for it, so that the library sends the COMMIT behind it.
        void driver`select ${1}::int`.execute()
      })
      setTimeout(release, 200)
      await ended
      await expect(call).rejects.toMatchObject({ code: 'MERSAL_NOT_A_TRANSACTION' })
      expect(await stored()).toBe(0)
    })

    test('costs the pool nothing when its connection has been closed since', async () => {
      await using place = await world(library)
      const { app, sql, stored, transaction } = place
      const { Held, release } = held()
      let call: Promise<string> | undefined
      let pid = 0
      await transaction(async (tx, driver) => {
        call = app.within(tx).send(Held, { n: 1 })
        pid = (await driver<{ pid: number }[]>`select pg_backend_pid() as pid`)[0]!.pid
      })
      const other = postgresLibrary(serverUrl, { max: 1 })
      await other`select pg_terminate_backend(${pid})`
      await expect
        .poll(async () => other`select 1 from pg_stat_activity where pid = ${pid}`)
        .toHaveLength(0)
      await other.end()
      release()
      await expect(call).rejects.toMatchObject({ code: 'MERSAL_NOT_A_TRANSACTION' })
      expect(await sql`select 2 as two`).toEqual([{ two: 2 }])
      expect(await stored()).toBe(0)
    })

    test('and is no more than slow is stored', async () => {
      await using place = await world(library)
      const { app, stored, transaction } = place
      const { Held, release } = held()
      await transaction(async (tx, driver) => {
        const call = app.within(tx).send(Held, { n: 1 }, { partitionKey: 'a' })
        const other = driver`select pg_sleep(${1.5}::float8)`.execute()
        release()
        await call
        await other
      })
      expect(await stored()).toBe(1)
    })
  })
}
