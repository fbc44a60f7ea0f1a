import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import {
  type DeadLetter,
  type Events,
  type Handler,
  Mersal,
  type Store,
  command,
  event,
} from '../../../src/index.ts'
import { memoryTransport } from '../../../src/memory.ts'
import { postgres, type PostgresClient } from '../../../src/postgres.ts'
import { sqlite, type SqliteDatabase } from '../../../src/sqlite.ts'
import { drain } from '../../../src/testing/index.ts'
import {
  libraries,
  type Library,
  openHandle,
  temporaryFolder,
} from '../../contract/sqlite-harness.ts'
import { serverAnswers, testDatabase } from '../../postgres/database.ts'

export const Place = command<{ n: number }>('orders.place')
export const Placed = event<{ n: number }>('orders.placed')

/** A store as these tests use it: with statements as text. */
export interface World<Tx> extends AsyncDisposable {
  readonly store: Store<Tx>
  /** Runs a statement with the handle of a unit. */
  readonly run: (tx: Tx, sql: string) => Promise<void>
  /** The texts of the committed rows of the table `business`. */
  readonly rows: () => Promise<readonly string[]>
}

export interface Kind<Tx = unknown> {
  readonly name: string
  readonly open: () => Promise<World<Tx>>
}

async function openPostgres(): Promise<World<PostgresClient>> {
  const database = await testDatabase()
  const { pool, schema, query } = database
  const store = postgres({ pool, schema })
  return {
    store,
    run: async (tx, sql) => void (await tx.query(sql.replaceAll('business', `${schema}.business`))),
    rows: async () =>
      (await query(`select text from ${schema}.business order by text`)).map(({ text }) =>
        String(text),
      ),
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]()
      await database[Symbol.asyncDispose]()
    },
  }
}

type By = 'path' | 'open' | 'database'

function openSqlite(library: Library, by: By): World<SqliteDatabase> {
  const folder = temporaryFolder()
  const path = folder.file('app.db')
  const own = openHandle(library, path)
  own.exec('CREATE TABLE business (text)')
  const stores = {
    path: () => sqlite({ path }),
    open: () => sqlite({ open: () => openHandle(library, path) }),
    database: () => sqlite({ database: own }),
  }
  const store = stores[by]() as Store<SqliteDatabase>
  return {
    store,
    run: async (tx, sql) => void tx.exec(sql),
    rows: async () =>
      own
        .prepare('SELECT text FROM business ORDER BY text')
        .all()
        .map((row) => (row as { text: string }).text),
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]()
      own.close()
      folder[Symbol.dispose]()
    },
  }
}

export const kinds: readonly Kind[] = [
  ...((await serverAnswers()) ? [{ name: 'PostgreSQL', open: openPostgres } as Kind] : []),
  { name: 'node:sqlite by path', open: async () => openSqlite('node:sqlite', 'path') } as Kind,
  {
    name: 'better-sqlite3 by a function',
    open: async () => openSqlite('better-sqlite3', 'open'),
  } as Kind,
  ...libraries.map(
    (library) =>
      ({
        name: `a handle of ${library}`,
        open: async () => openSqlite(library, 'database'),
      }) as Kind,
  ),
]

export interface Outcome {
  /** Numbers of the events that came. */
  readonly placed: readonly number[]
  readonly dead: readonly DeadLetter[]
  readonly rows: readonly string[]
  readonly errors: readonly string[]
}

/**
 * Sends one command to a handler, waits until everything is worked off, and tells what has become
 * of it.
 */
export async function handleOne<Tx>(
  { store, rows }: World<Tx>,
  handler: Handler<{ n: number }, Tx>,
  receive = {},
): Promise<Outcome> {
  const transport = memoryTransport()
  const errors: string[] = []
  const placed: number[] = []
  const note = (fields: Readonly<Record<string, unknown>>, text: string): void =>
    void errors.push(`${text}: ${String(fields['code'])}`)
  const app = new Mersal<Tx>({
    name: 'shop',
    store: { ...store, [Symbol.asyncDispose]: () => Promise.resolve() },
    transport,
    receive: {
      immediateRetries: 1,
      maxDeliveries: 2,
      backoff: { firstMs: 5, longestMs: 5 },
      ...receive,
    },
    logger: { debug: () => {}, info: () => {}, warn: () => {}, error: note },
  })
  app.handle(Place, handler)
  app.handle(Placed, ({ n }) => void placed.push(n))
  const last = Promise.withResolvers<void>()
  const hear = (told: unknown): void => {
    const { app: name, type, outcome } = told as Events['mersal:handle']
    if (name === app.name && type === Place.name && outcome !== 'retry') last.resolve()
  }
  subscribe('mersal:handle', hear)
  await app.start()
  await app.transaction(async (_, { sendLocal }) => void (await sendLocal(Place, { n: 1 })))
  await last.promise
  unsubscribe('mersal:handle', hear)
  await drain(app)
  const dead = await transport.deadLetters.list()
  await app.stop()
  return { placed: placed.toSorted((a, b) => a - b), dead, rows: await rows(), errors }
}
