/** The source under test: `src`, or a copy of it with a bug. */
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type * as Metrics from '../../src/cli/relay/relay-metrics.ts'
import type * as Core from '../../src/index.ts'
import type * as Mysql from '../../src/mysql.ts'
import type * as Postgres from '../../src/postgres.ts'
import type * as Rabbit from '../../src/rabbitmq.ts'
import type * as Sqlite from '../../src/sqlite.ts'

export interface Source {
  readonly core: typeof Core
  readonly mysql: typeof Mysql
  readonly postgres: typeof Postgres
  readonly rabbitmq: typeof Rabbit
  readonly sqlite: typeof Sqlite
  readonly metrics: typeof Metrics
}

export const ownSource: string = join(import.meta.dirname, '../../src')

export async function loadSource(folder: string): Promise<Source> {
  const load = async (file: string): Promise<unknown> =>
    import(/* @vite-ignore */ pathToFileURL(join(folder, file)).href)
  const files = [
    'index.ts',
    'mysql.ts',
    'postgres.ts',
    'rabbitmq.ts',
    'sqlite.ts',
    'cli/relay/relay-metrics.ts',
  ]
  const [core, mysql, postgres, rabbitmq, sqlite, metrics] = await Promise.all(files.map(load))
  return { core, mysql, postgres, rabbitmq, sqlite, metrics } as Source
}
