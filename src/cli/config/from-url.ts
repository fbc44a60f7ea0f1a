import type { Store } from '../../core/store.ts'
import { ambiguousUrl, isAmbiguousUrl } from '../../lib/ambiguous-url.ts'
import type { MysqlPool } from '../../sql/mysql/client.ts'
import type { PostgresPool } from '../../sql/postgres/client.ts'
import { CommandError } from '../exit.ts'
import { loadPackage } from './clients.ts'

/** What there is beside an address. */
export interface Surroundings {
  readonly env: Readonly<Record<string, string | undefined>>
  /** Clients are those of this folder. */
  readonly cwd: string
}

export async function postgresAt(
  url: string,
  { env, cwd }: Surroundings,
): Promise<{ readonly store: Store<unknown>; readonly close: () => Promise<unknown> }> {
  const pool = await poolAt(url, cwd)
  const { postgres } = await import('../../stores/postgres/store.ts')
  const schema = env['MERSAL_SCHEMA'] ?? ''
  const store = postgres({ pool, ...(schema === '' ? {} : { schema }) })
  return { store, close: () => pool.end() }
}

async function poolAt(url: string, cwd: string): Promise<PostgresPool> {
  if (isAmbiguousUrl(url)) throw new CommandError(`DATABASE_URL: ${ambiguousUrl}`)
  if (!URL.canParse(url))
    throw new CommandError(
      'DATABASE_URL: not a URL; expected postgres://user:password@host:port/database',
    )
  const loaded = await loadPackage('pg', cwd)
  const { Pool } = (loaded['default'] ?? loaded) as { Pool: new (options: object) => PostgresPool }
  return new Pool({
    connectionString: url,
    max: 2,
    application_name: 'mersal',
    connectionTimeoutMillis: 10_000,
  })
}

type PoolMaker = (options: object) => MysqlPool

export async function mysqlAt(
  url: string,
  { env, cwd }: Surroundings,
): Promise<{ readonly store: Store<unknown>; readonly close: () => Promise<unknown> }> {
  if (isAmbiguousUrl(url)) throw new CommandError(`DATABASE_URL: ${ambiguousUrl}`)
  if (!URL.canParse(url))
    throw new CommandError(
      'DATABASE_URL: not a URL; expected mysql://user:password@host:port/database',
    )
  const loaded = await loadPackage('mysql2/promise', cwd)
  const { createPool } = (loaded['default'] ?? loaded) as { createPool: PoolMaker }
  const pool = createPool({
    uri: url.replace(/^mariadb:/, 'mysql:'),
    connectionLimit: 2,
    connectTimeout: 10_000,
  })
  const { mysql } = await import('../../stores/mysql/store.ts')
  const schema = env['MERSAL_SCHEMA'] ?? ''
  const store = mysql({ pool, ...(schema === '' ? {} : { schema }) }) as Store<unknown>
  return { store, close: () => pool.end() }
}

export async function sqliteAt(url: string): Promise<{ readonly store: Store<unknown> }> {
  const path = url.replace(/^(?:sqlite|file):(?:\/\/(?=\/))?/, '')
  const { sqlite } = await import('../../stores/sqlite/store.ts')
  return { store: sqlite({ path }) }
}
