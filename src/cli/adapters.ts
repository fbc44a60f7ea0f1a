import type { Store } from '../core/store.ts'
import type { Transport } from '../core/transport.ts'
import { mysqlAt, postgresAt, sqliteAt, type Surroundings } from './config/from-url.ts'

/** What the program knows of a store or a transport, beyond its port. */
interface Adapter {
  /** npm packages of its client. */
  readonly packages: readonly string[]
  /** Variables of the environment with its address; the first one that is set counts. */
  readonly variables: readonly string[]
  /** Addresses of its kind. */
  readonly fits: RegExp
  /** How such an address looks, for people. */
  readonly shown: string
  /** For `mersal init`: its module, its function, and the options of that. */
  readonly init: readonly [module: string, name: string, options: string]
  /** What those options need before. */
  readonly client?: Client
}

/** Lines of a configuration for a client that store and transport may share. */
export interface Client {
  readonly imports: string
  readonly setup: string
  readonly close: string
}

export interface StoreAdapter extends Adapter {
  readonly fromUrl: (
    url: string,
    surroundings: Surroundings,
  ) => Promise<{ readonly store: Store<unknown>; readonly close?: () => Promise<unknown> }>
}

/** Without `fromUrl` it has no address of its own, since it lives in a database. */
export interface TransportAdapter extends Adapter {
  readonly fromUrl?: (url: string) => Promise<Transport>
}

export type StoreName = 'postgres' | 'mysql' | 'sqlite'
export type TransportName =
  | 'rabbitmq'
  | 'nats'
  | 'kafka'
  | 'redis'
  | 'postgres'
  | 'mysql'
  | 'sqlite'

const onPostgres = {
  packages: ['pg'],
  variables: ['DATABASE_URL'],
  fits: /^postgres(?:ql)?:\/\//,
  shown: 'postgres://…',
  client: {
    imports: `import pg from 'pg'`,
    setup: `const pool = new pg.Pool({ connectionString: required('DATABASE_URL') })`,
    close: 'pool.end()',
  },
}
const onMysql = {
  packages: ['mysql2'],
  variables: ['DATABASE_URL'],
  fits: /^(?:mysql|mariadb):\/\//,
  shown: 'mysql://…',
  client: {
    imports: `import { createPool } from 'mysql2/promise'`,
    setup: `const pool = createPool(required('DATABASE_URL'))`,
    close: 'pool.end()',
  },
}
const onSqlite = {
  packages: [],
  variables: ['DATABASE_URL'],
  fits: /^(?:sqlite|file):./,
  shown: 'sqlite:PATH',
}

/** The stores by name, which is that of their port. */
export const storeAdapters: Readonly<Record<StoreName, StoreAdapter>> = {
  postgres: {
    ...onPostgres,
    init: ['mersal/postgres', 'postgres', '{ pool }'],
    fromUrl: postgresAt,
  },
  mysql: {
    ...onMysql,
    init: ['mersal/mysql', 'mysql', '{ pool }'],
    fromUrl: mysqlAt,
  },
  sqlite: {
    ...onSqlite,
    init: ['mersal/sqlite', 'sqlite', `{ path: 'app.db' }`],
    fromUrl: sqliteAt,
  },
}

/** The transports by name, which is that of their port. */
export const transportAdapters: Readonly<Record<TransportName, TransportAdapter>> = {
  rabbitmq: {
    packages: ['amqplib'],
    variables: ['AMQP_URL', 'RABBITMQ_URL'],
    fits: /^amqps?:\/\//,
    shown: 'amqp://…',
    init: ['mersal/rabbitmq', 'rabbitmq', '{ url: broker }'],
    fromUrl: async (url) => (await import('../transports/rabbitmq/transport.ts')).rabbitmq({ url }),
  },
  nats: {
    packages: ['@nats-io/transport-node', '@nats-io/jetstream'],
    variables: ['NATS_URL'],
    fits: /^(?:nats|tls):\/\//,
    shown: 'nats://…',
    init: ['mersal/nats', 'nats', '{ url: broker }'],
    fromUrl: async (url) => (await import('../transports/nats/transport.ts')).nats({ url }),
  },
  redis: {
    packages: ['@redis/client'],
    variables: ['REDIS_URL'],
    fits: /^rediss?:\/\//,
    shown: 'redis://…',
    init: ['mersal/redis', 'redis', '{ url: broker }'],
    fromUrl: async (url) => (await import('../transports/redis/transport.ts')).redis({ url }),
  },
  kafka: {
    packages: ['@platformatic/kafka'],
    variables: ['KAFKA_URL'],
    fits: /^kafkas?:\/\//,
    shown: 'kafka://…',
    init: ['mersal/kafka', 'kafka', '{ url: broker }'],
    fromUrl: async (url) => (await import('../transports/kafka/transport.ts')).kafka({ url }),
  },
  postgres: { ...onPostgres, init: ['mersal/postgres', 'postgresQueue', '{ pool }'] },
  mysql: { ...onMysql, init: ['mersal/mysql', 'mysqlQueue', '{ pool }'] },
  sqlite: { ...onSqlite, init: ['mersal/sqlite', 'sqliteQueue', `{ path: 'queue.db' }`] },
}

export const storeNames: readonly StoreName[] = namesOf(storeAdapters)
export const transportNames: readonly TransportName[] = namesOf(transportAdapters)

function namesOf<Name extends string>(adapters: Readonly<Record<Name, Adapter>>): Name[] {
  return Object.keys(adapters) as Name[]
}

/** Packages of the client of a store or transport with this name; none for foreign ones. */
export function packagesOf(
  adapters: Readonly<Record<string, Adapter>>,
  name: string,
): readonly string[] {
  return Object.hasOwn(adapters, name) ? (adapters[name]?.packages ?? []) : []
}

/** Whether its address is in a variable of its own. */
export function isBroker(adapter: TransportAdapter): boolean {
  return adapter.fromUrl !== undefined
}

type Env = Readonly<Record<string, string | undefined>>

/** The first of these variables that is set. */
export function variableSet(env: Env, { variables }: Adapter): string | undefined {
  return variables.find((name) => (env[name] ?? '') !== '')
}

/** Names of variables that may hold the address of a broker, for people. */
export const brokerVariables: string = Object.values(transportAdapters)
  .filter(isBroker)
  .map(({ variables: [first] }) => first)
  .join(' or ')
