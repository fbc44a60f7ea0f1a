import { Mersal, type Logger, type MersalOptions, type Store, event } from '../../../src/index.ts'
import { type MemoryTransaction, memoryStore, memoryTransport } from '../../../src/memory.ts'
import { postgres } from '../../../src/postgres.ts'
import { sqlite } from '../../../src/sqlite.ts'
import { temporaryFolder } from '../../contract/sqlite-harness.ts'
import { serverAnswers, testDatabase } from '../../postgres/database.ts'

export const Noted = event<{ who: string }>('notes.taken')

export interface Place extends AsyncDisposable {
  readonly app: Mersal<unknown>
  readonly warnings: string[]
  /** How many transactions may be open that write. */
  readonly writers: 'one' | 'many'
  write(tx: unknown, who: string): Promise<unknown>
  /** Who wrote something that is committed. */
  written(): Promise<string[]>
  /** Committed messages. */
  pending(): Promise<number>
  /** Whom they tell of, in the order of their positions. */
  sent(): Promise<string[]>
}

type More = Partial<MersalOptions<unknown>>

function listening(): { logger: Logger; warnings: string[] } {
  const warnings: string[] = []
  const ignore = (): void => {}
  return {
    warnings,
    logger: {
      debug: ignore,
      info: ignore,
      error: ignore,
      warn: (_, text) => void warnings.push(text),
    },
  }
}

async function sentOf({ outbox }: Pick<Store<never>, 'outbox'>): Promise<string[]> {
  const rows = await outbox.claim({ limit: 100, claimMs: 60_000, token: 'test' })
  return rows.map(
    ({ message }) => (JSON.parse(new TextDecoder().decode(message.body)) as { who: string }).who,
  )
}

const rest = { name: 'notes', outbox: { runRelay: false } }

async function onMemory(more: More): Promise<Place> {
  const { logger, warnings } = listening()
  const store = memoryStore()
  const app = new Mersal<MemoryTransaction>({
    ...rest,
    store,
    transport: memoryTransport(),
    logger,
    ...(more as object),
  })
  return {
    app: app as Mersal<unknown>,
    warnings,
    writers: 'many',
    write: async (tx, who) => (tx as MemoryTransaction).set(who, true),
    written: () => store.unitOfWork(async (tx) => tx.entries().map(([who]) => who)),
    pending: async () => (await store.admin.stats()).pending,
    sent: () => sentOf(store),
    [Symbol.asyncDispose]: () => app.stop(),
  }
}

async function onSqlite(more: More, { busyTimeoutMs = 3000 } = {}): Promise<Place> {
  const { logger, warnings } = listening()
  const folder = temporaryFolder()
  const store = sqlite({ path: folder.file('notes.db'), busyTimeoutMs })
  const app = new Mersal({
    ...rest,
    store,
    transport: memoryTransport(),
    logger,
    ...(more as object),
  })
  type Tx = Parameters<Parameters<typeof app.transaction>[0]>[0]
  await app.transaction(async (tx) => tx.exec('create table notes (who text not null)'))
  return {
    app: app as Mersal<unknown>,
    warnings,
    writers: 'one',
    write: async (tx, who) => (tx as Tx).prepare('insert into notes values (?)').run(who),
    written: () =>
      app.transaction(async (tx) =>
        tx
          .prepare('select who from notes order by who')
          .all()
          .map(({ who }) => who as string),
      ),
    pending: async () => (await store.admin.stats()).pending,
    sent: () => sentOf(store),
    async [Symbol.asyncDispose]() {
      await app.stop()
      folder[Symbol.dispose]()
    },
  }
}

async function onPostgres(more: More, { max = 6 } = {}): Promise<Place> {
  const { logger, warnings } = listening()
  const database = await testDatabase()
  const { schema } = database
  const store = postgres({ pool: database.newPool({ max }), schema })
  const app = new Mersal({
    ...rest,
    store,
    transport: memoryTransport(),
    logger,
    ...(more as object),
  })
  type Tx = Parameters<Parameters<typeof app.transaction>[0]>[0]
  return {
    app: app as Mersal<unknown>,
    warnings,
    writers: 'many',
    write: async (tx, who) => (tx as Tx).query(`insert into ${schema}.business values ($1)`, [who]),
    written: async () =>
      (await database.query(`select text from ${schema}.business order by text`)).map(
        ({ text }) => text as string,
      ),
    pending: async () => (await store.admin.stats()).pending,
    sent: () => sentOf(store),
    async [Symbol.asyncDispose]() {
      await app.stop()
      await database[Symbol.asyncDispose]()
    },
  }
}

const postgresIsThere = await serverAnswers()

type Limits = { busyTimeoutMs?: number; max?: number }

export const places: Readonly<Record<string, (more?: More, limits?: Limits) => Promise<Place>>> = {
  'the memory store': (more = {}) => onMemory(more),
  SQLite: (more = {}, limits = {}) => onSqlite(more, limits),
  ...(postgresIsThere
    ? { PostgreSQL: (more: More = {}, limits: Limits = {}) => onPostgres(more, limits) }
    : {}),
}
