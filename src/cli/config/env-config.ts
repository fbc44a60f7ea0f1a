import type { PostgresPool } from '../../sql/postgres/client.ts'
import type { Store } from '../../core/store.ts'
import type { Transport } from '../../core/transport.ts'
import { loadPackage } from './clients.ts'
import type { MersalConfig } from './config.ts'
import { ambiguousUrl, isAmbiguousUrl } from '../../lib/ambiguous-url.ts'
import { CommandError } from '../exit.ts'

type Env = Readonly<Record<string, string | undefined>>

/** Names of variables that hold the address of the broker, the first one that is set wins. */
export const brokerVariables = ['AMQP_URL', 'RABBITMQ_URL'] as const

/** Whether the environment alone says which database there is. */
export function envHasStore(env: Env): boolean {
  return (env['DATABASE_URL'] ?? '') !== ''
}

/**
 * The configuration that the environment describes: DATABASE_URL, MERSAL_SCHEMA, AMQP_URL or
 * RABBITMQ_URL, MERSAL_QUEUES.
 */
export async function configOfEnv(env: Env, cwd: string): Promise<MersalConfig> {
  const url = env['DATABASE_URL'] ?? ''
  const transport = await transportOfEnv(env, cwd)
  const queues = (env['MERSAL_QUEUES'] ?? '').split(',').flatMap((name) => name.trim() || [])
  const given = { queues, ...(transport === undefined ? {} : { transport }) }
  if (/^postgres(?:ql)?:\/\//.test(url)) {
    const pool = await poolOf(url, cwd)
    const store = await postgresStore(pool, env['MERSAL_SCHEMA'])
    return { store, ...given, close: () => pool.end() }
  }
  const path = /^(?:sqlite|file):(?:\/\/(?=\/))?(.+)$/.exec(url)?.[1]
  if (path === undefined) {
    throw new CommandError(
      'DATABASE_URL: expected postgres://… or sqlite:PATH (its value is not shown, since it may hold a password)',
    )
  }
  const { sqlite } = await import('../../stores/sqlite/store.ts')
  return { store: sqlite({ path }), ...given }
}

async function poolOf(url: string, cwd: string): Promise<PostgresPool> {
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

async function postgresStore(
  pool: PostgresPool,
  schema: string | undefined,
): Promise<Store<unknown>> {
  const { postgres } = await import('../../stores/postgres/store.ts')
  return postgres({ pool, ...(schema === undefined || schema === '' ? {} : { schema }) })
}

async function transportOfEnv(env: Env, cwd: string): Promise<Transport | undefined> {
  const url = brokerVariables
    .map((name) => env[name])
    .find((value) => value !== undefined && value !== '')
  if (url === undefined) return undefined
  await loadPackage('amqplib', cwd)
  const { rabbitmq } = await import('../../transports/rabbitmq/transport.ts')
  return rabbitmq({ url })
}
