import { checkOptions, checkShape, invalidOption } from '../../core/options.ts'
import { isName, nameRule } from '../../core/messages/validation.ts'
import type { Store } from '../../core/store.ts'
import type { Transport } from '../../core/transport.ts'
import type { RelayOptions } from '../../outbox/options.ts'
import {
  checkStore,
  type RelayStore,
  type ServedStore,
  servedStores,
  sharedWindow,
  type Stores,
} from '../../outbox/many-stores/relays-options.ts'

/** What the program asks of a store; every `Store` is one. */
export type ToolStore = RelayStore & Pick<Store<unknown>, 'admin' | 'sagas' | 'once'>

/** What the program `mersal` works with: the same store and transports as the apps. */
export interface MersalConfig<Tx = unknown> {
  /** The database with the outbox. Default none: give this or `stores`. */
  readonly store?: Store<Tx>
  /**
   * In place of `store`: several databases by name, all served by one `mersal relay`; other verbs
   * choose with `--store`. Default none.
   */
  readonly stores?: Stores<ToolStore>
  /**
   * The broker; `default` in destinations. Not needed by verbs that only look at the database.
   * Default none.
   */
  readonly transport?: Transport
  /** Further transports by name, as in the options of the apps. Default none. */
  readonly bridges?: Readonly<Record<string, Transport>>
  /**
   * Queues of consumers on `transport`, so that their dead letters are counted and named. A queue
   * in a database, or one that the inbox of the store knows, need not be listed. Default none.
   */
  readonly queues?: readonly string[]
  /** Options of `mersal relay`. Default: as each of its fields says. */
  readonly relay?: RelayOptions
  /** Shown in logs and metrics of `mersal relay`. Default 'relay'. */
  readonly name?: string
  /**
   * Called at the end, for what the store does not close itself, such as a pool. Default: nothing.
   */
  readonly close?: () => Promise<unknown> | void
}

/**
 * The configuration, or a function that makes it; it is called once, and only by verbs that need
 * it.
 */
export type ConfigSource<Tx = unknown> =
  | MersalConfig<Tx>
  | (() => MersalConfig<Tx> | Promise<MersalConfig<Tx>>)

/**
 * For the default export of `mersal.config.ts`. Returns what it is given; it is there for the
 * types.
 */
export function defineConfig<Tx, Config extends MersalConfig<Tx>>(
  config: Config & MersalConfig<Tx>,
): Config
export function defineConfig<Tx, Config extends MersalConfig<Tx>>(
  config: () => (Config & MersalConfig<Tx>) | Promise<Config & MersalConfig<Tx>>,
): () => Config | Promise<Config>
export function defineConfig(config: unknown): unknown {
  return config
}

const known = [
  'store',
  'stores',
  'transport',
  'bridges',
  'queues',
  'relay',
  'name',
  'close',
] as const satisfies readonly (keyof MersalConfig)[]

/** A configuration that has been checked. */
export interface CheckedConfig {
  readonly config: MersalConfig
  /** Its stores with what each needs; a single one has the name `default`. */
  readonly served: readonly ServedStore<ToolStore>[]
}

/** Throws `MERSAL_INVALID_OPTIONS` unless this is a configuration. */
export function checkConfig(given: unknown): CheckedConfig {
  checkOptions('config', given, known)
  const config = given as MersalConfig
  const stores = storesOf(config)
  if (config.name !== undefined && typeof config.name !== 'string')
    throw invalidOption('config.name', 'expected text')
  const { queues = [] } = config
  if (!Array.isArray(queues) || !queues.every((queue) => isName(queue)))
    throw invalidOption(
      'config.queues',
      `expected a list of names of queues, each with ${nameRule}`,
    )
  if (config.close !== undefined && typeof config.close !== 'function')
    throw invalidOption('config.close', 'expected a function')
  const served = servedStores(stores, config, 'config')
  sharedWindow(served, config, 'config')
  return { config, served }
}

/** The stores by name; a single one is called 'default'. */
function storesOf({ store, stores }: MersalConfig): Stores<ToolStore> {
  if (store !== undefined && stores !== undefined)
    throw invalidOption(
      'config.stores',
      "give either 'store', for one database, or 'stores', for several",
    )
  if (stores !== undefined) return stores
  if (store === undefined)
    throw invalidOption(
      'config.store',
      'is missing: give postgres() of mersal/postgres, mysql() of mersal/mysql or sqlite() of mersal/sqlite',
    )
  checkShape('config.store', store, ['unitOfWork', 'open'])
  checkStore('config.store', store)
  return { default: store }
}
