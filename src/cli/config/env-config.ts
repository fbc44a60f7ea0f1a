import type { Transport } from '../../core/transport.ts'
import {
  type StoreAdapter,
  storeAdapters,
  type TransportAdapter,
  transportAdapters,
  variableSet,
} from '../adapters.ts'
import { CommandError } from '../exit.ts'
import { loadPackage } from './clients.ts'
import type { MersalConfig } from './config.ts'
import type { Surroundings } from './from-url.ts'

/** Whether the environment alone says which database there is. */
export function envHasStore(env: Surroundings['env']): boolean {
  return (env['DATABASE_URL'] ?? '') !== ''
}

/**
 * The configuration that the environment describes: DATABASE_URL, MERSAL_SCHEMA, the address of a
 * broker, MERSAL_QUEUES.
 */
export async function configOfEnv(env: Surroundings['env'], cwd: string): Promise<MersalConfig> {
  const url = env['DATABASE_URL'] ?? ''
  const adapters: readonly StoreAdapter[] = Object.values(storeAdapters)
  const adapter = adapters.find(({ fits }) => fits.test(url))
  if (adapter === undefined) {
    const shown = adapters.map((one) => one.shown).join(' or ')
    throw new CommandError(
      `DATABASE_URL: expected ${shown} (its value is not shown, since it may hold a password)`,
    )
  }
  const transport = await transportOfEnv(env, cwd)
  const queues = (env['MERSAL_QUEUES'] ?? '').split(',').flatMap((name) => name.trim() || [])
  const opened = await adapter.fromUrl(url, { env, cwd })
  return { ...opened, queues, ...(transport === undefined ? {} : { transport }) }
}

async function transportOfEnv(
  env: Surroundings['env'],
  cwd: string,
): Promise<Transport | undefined> {
  const adapters: readonly TransportAdapter[] = Object.values(transportAdapters)
  for (const adapter of adapters) {
    const variable = adapter.fromUrl === undefined ? undefined : variableSet(env, adapter)
    if (variable === undefined) continue
    for (const name of adapter.packages) await loadPackage(name, cwd)
    return adapter.fromUrl?.(env[variable] ?? '')
  }
  return undefined
}
