import { MersalError } from '../core/errors.ts'
import { checkOptions, checkShape } from '../core/options.ts'
import type { Store } from '../core/store.ts'
import type { Transport } from '../core/transport.ts'
import { type RelayOptions, relaySettings } from '../outbox/options.ts'

/** What the program `mersal` works with: the same store and transports as the apps. */
export interface MersalConfig<Tx = unknown> {
  /** The database with the outbox. */
  readonly store: Store<Tx>
  /** The broker; `default` in destinations. Not needed by verbs that only look at the database. */
  readonly transport?: Transport
  /** Further transports by name, as in the options of the apps. */
  readonly bridges?: Readonly<Record<string, Transport>>
  /** Options of `mersal relay`. */
  readonly relay?: RelayOptions
  /** Shown in logs and metrics of `mersal relay`. Default 'relay'. */
  readonly name?: string
  /** Called at the end, for what the store does not close itself, such as a pool. */
  readonly close?: () => Promise<unknown> | void
}

/** The configuration, or a function that makes it; it is called once, and only by verbs that need it. */
export type ConfigSource<Tx = unknown> = MersalConfig<Tx> | (() => MersalConfig<Tx> | Promise<MersalConfig<Tx>>)

/** For the default export of `mersal.config.ts`. Returns what it is given; it is there for the types. */
export function defineConfig<Tx, Config extends MersalConfig<Tx>>(config: Config & MersalConfig<Tx>): Config
export function defineConfig<Tx, Config extends MersalConfig<Tx>>(
  config: () => (Config & MersalConfig<Tx>) | Promise<Config & MersalConfig<Tx>>,
): () => Config | Promise<Config>
export function defineConfig(config: unknown): unknown {
  return config
}

const known = ['store', 'transport', 'bridges', 'relay', 'name', 'close'] as const satisfies readonly (keyof MersalConfig)[]

function invalid(field: string, text: string): MersalError {
  return new MersalError('MERSAL_INVALID_OPTIONS', `${field}: ${text}`, { details: { field } })
}

/** Throws `MERSAL_INVALID_OPTIONS` unless this is a configuration. */
export function checkConfig(given: unknown): MersalConfig {
  checkOptions('config', given, known)
  const config = given as MersalConfig
  if (config.store === undefined)
    throw invalid('config.store', 'is missing: give postgres() of mersal/postgres or sqlite() of mersal/sqlite')
  checkShape('config.store', config.store, ['unitOfWork', 'open'])
  checkShape('config.store.outbox', config.store.outbox, ['claim', 'settle', 'prune'])
  if (config.transport !== undefined) checkShape('config.transport', config.transport, ['publish', 'subscribe'])
  if (config.bridges !== undefined) {
    checkOptions('config.bridges', config.bridges, Object.keys(config.bridges))
    for (const [name, bridge] of Object.entries(config.bridges)) checkShape(`config.bridges.${name}`, bridge, ['publish', 'subscribe'])
    if ('default' in config.bridges) throw invalid('config.bridges.default', "this name belongs to 'transport'")
  }
  if (config.name !== undefined && typeof config.name !== 'string') throw invalid('config.name', 'expected text')
  if (config.close !== undefined && typeof config.close !== 'function') throw invalid('config.close', 'expected a function')
  relaySettings(config.relay, 'config.relay')
  return config
}

/** By the name in destinations. */
export function transportsOf({ transport, bridges }: MersalConfig): ReadonlyMap<string, Transport> {
  const transports = new Map<string, Transport>(Object.entries(bridges ?? {}))
  if (transport !== undefined) transports.set('default', transport)
  return transports
}
