import type { Store } from '../../src/index.ts'
import { memoryDatabase, memoryStore } from '../../src/memory.ts'
import { mysql, type MysqlOptions } from '../../src/mysql.ts'
import { postgres, type PostgresOptions } from '../../src/postgres.ts'
import { sqlite } from '../../src/sqlite.ts'
import { temporaryFolder } from '../contract/sqlite-harness.ts'
import { serverAnswers as mysqlAnswers, testDatabase as mysqlDatabase } from '../mysql/server.ts'
import { serverAnswers, testDatabase } from '../postgres/database.ts'

/** A database of its own, and stores on it, one for each app. */
export interface StorePlace extends AsyncDisposable {
  readonly store: () => Store<unknown>
}

export type OpenPlace = () => Promise<StorePlace>

/** In this process, and in a file. */
export const embeddedPlaces: Readonly<Record<'memory' | 'sqlite', OpenPlace>> = {
  memory: () => {
    const database = memoryDatabase()
    const store = (): Store<unknown> => memoryStore({ database })
    return Promise.resolve({ store, [Symbol.asyncDispose]: () => Promise.resolve() })
  },
  sqlite: () => {
    const folder = temporaryFolder()
    const path = folder.file('shop.db')
    return Promise.resolve({
      store: () => sqlite({ path }) as Store<unknown>,
      [Symbol.asyncDispose]: async () => folder[Symbol.dispose](),
    })
  },
}

type More<Options> = Omit<Partial<Options>, 'pool' | 'schema' | 'session'>

/** On PostgreSQL, by the names of these options; none where no server answers. */
export async function postgresPlaces(
  wanted: Readonly<Record<string, More<PostgresOptions>>>,
): Promise<Readonly<Record<string, OpenPlace>>> {
  const open =
    (options: More<PostgresOptions>): OpenPlace =>
    async () => {
      const { pool, schema, ...database } = await testDatabase()
      return {
        store: () => postgres({ ...options, pool, schema }),
        [Symbol.asyncDispose]: () => database[Symbol.asyncDispose](),
      }
    }
  return (await serverAnswers()) ? mapped(wanted, open) : {}
}

/** On MySQL, the same. */
export async function mysqlPlaces(
  wanted: Readonly<Record<string, More<MysqlOptions>>>,
): Promise<Readonly<Record<string, OpenPlace>>> {
  const open =
    (options: More<MysqlOptions>): OpenPlace =>
    async () => {
      const database = await mysqlDatabase()
      return {
        store: () => mysql({ ...options, pool: database.pool }),
        [Symbol.asyncDispose]: () => database[Symbol.asyncDispose](),
      }
    }
  return (await mysqlAnswers()) ? mapped(wanted, open) : {}
}

const mapped = <Options>(
  wanted: Readonly<Record<string, Options>>,
  open: (options: Options) => OpenPlace,
): Readonly<Record<string, OpenPlace>> =>
  Object.fromEntries(Object.entries(wanted).map(([name, options]) => [name, open(options)]))
