/** The source under test: `src`, or a copy of it with a bug. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type * as Metrics from '../../src/metrics/relay-metrics.ts'
import type * as Core from '../../src/index.ts'
import type * as Kafka from '../../src/kafka.ts'
import type * as Mysql from '../../src/mysql.ts'
import type * as Nats from '../../src/nats.ts'
import type * as Postgres from '../../src/postgres.ts'
import type * as Rabbit from '../../src/rabbitmq.ts'
import type * as Redis from '../../src/redis.ts'
import type * as Sqlite from '../../src/sqlite.ts'

/** What any build has, wherever its other files lie. */
export interface Adapters {
  readonly postgres: typeof Postgres
  readonly rabbitmq: typeof Rabbit
  readonly sqlite: typeof Sqlite
  /** Undefined in a build that is older than the store. */
  readonly mysql?: typeof Mysql
  /** Undefined in a build that is older than the transport. */
  readonly nats?: typeof Nats
  /** The same. */
  readonly redis?: typeof Redis
  readonly kafka?: typeof Kafka
}

type AdapterName = keyof Adapters

export interface Source extends Required<Adapters> {
  readonly core: typeof Core
  readonly metrics: typeof Metrics
}

/** For a process that uses two adapters of all: the clients of the others take a while to load. */
export interface SourceOfProcess extends Pick<Source, 'core' | 'metrics'> {
  readonly adapter: <Name extends AdapterName>(name: Name) => Promise<Source[Name]>
}

export const ownSource: string = join(import.meta.dirname, '../../src')

const load = async (folder: string, file: string): Promise<unknown> =>
  import(/* @vite-ignore */ pathToFileURL(join(folder, file)).href)

/** Of a build of any age. */
export async function loadAdapters(folder: string): Promise<Adapters> {
  const names = ['postgres', 'rabbitmq', 'sqlite', 'mysql', 'nats', 'redis', 'kafka'] as const
  const there = names.filter((name) => existsSync(join(folder, `${name}.ts`)))
  const loaded = there.map(async (name) => [name, await load(folder, `${name}.ts`)])
  return Object.fromEntries(await Promise.all(loaded)) as Adapters
}

export type Faces = Omit<SourceOfProcess, 'metrics'>

/** Of a build of any age; the adapters when they are asked for. */
export async function loadFaces(folder: string): Promise<Faces> {
  const core = await load(folder, 'index.ts')
  const adapter = (name: AdapterName): Promise<unknown> => load(folder, `${name}.ts`)
  return { core, adapter } as Faces
}

/** The same as `loadSource`, with the adapters when they are asked for. */
export async function loadSourceOfProcess(folder: string): Promise<SourceOfProcess> {
  const [faces, metrics] = await Promise.all([
    loadFaces(folder),
    load(folder, 'metrics/relay-metrics.ts'),
  ])
  return { ...faces, metrics } as SourceOfProcess
}

/** Of a build whose files lie where those of this one lie. */
export async function loadSource(folder: string): Promise<Source> {
  const files = [
    'index.ts',
    'kafka.ts',
    'mysql.ts',
    'nats.ts',
    'postgres.ts',
    'rabbitmq.ts',
    'redis.ts',
    'sqlite.ts',
    'metrics/relay-metrics.ts',
  ]
  const [core, kafka, mysql, nats, postgres, rabbitmq, redis, sqlite, metrics] = await Promise.all(
    files.map((file) => load(folder, file)),
  )
  return { core, kafka, mysql, nats, postgres, rabbitmq, redis, sqlite, metrics } as Source
}
