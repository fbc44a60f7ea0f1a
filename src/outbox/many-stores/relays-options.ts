import { MersalError } from '../../core/errors/errors.ts'
import { checkOptions, checkShape } from '../../core/options.ts'
import type { StoreOperations } from '../../core/operations.ts'
import type { OutboxStorage, Waker } from '../../core/outbox.ts'
import type { Transport } from '../../core/transport.ts'
import { type RelayOptions, type RelaySettings, relaySettings } from '../options.ts'

/** What relays need of a store; every `Store` is one. */
export interface RelayStore extends AsyncDisposable {
  readonly name: string
  readonly outbox: Pick<OutboxStorage<never>, 'claim' | 'settle' | 'prune' | 'clock'>
  readonly wakers: readonly Waker[]
  readonly operations?: StoreOperations
  open(): Promise<void>
}

/** One of several stores: a shard, a tenant, a region. */
export interface StoreEntry<Kind extends RelayStore = RelayStore> {
  readonly store: Kind
  /** Its broker. Default: that of all. */
  readonly transport?: Transport
  /** Further transports by name. Default: those of all. */
  readonly bridges?: Readonly<Record<string, Transport>>
  /** What is different for this store. Not `window`, which all share. */
  readonly relay?: Omit<RelayOptions, 'window'>
}

/** By name: the store alone, or with what is different for it. */
export type Stores<Kind extends RelayStore = RelayStore> = Readonly<
  Record<string, Kind | StoreEntry<Kind>>
>

/** What all stores share unless they say otherwise. */
export interface SharedOptions {
  readonly transport?: Transport | undefined
  readonly bridges?: Readonly<Record<string, Transport>> | undefined
  readonly relay?: RelayOptions | undefined
}

/** One store with everything that its relay needs. */
export interface ServedStore<Kind extends RelayStore = RelayStore> {
  readonly name: string
  readonly store: Kind
  /** By the name in destinations. */
  readonly transports: ReadonlyMap<string, Transport>
  readonly relay: RelayOptions
  readonly settings: RelaySettings
}

/** Room in the window for each store, unless `window` is given. */
const PER_STORE = 20

function invalid(field: string, text: string): MersalError {
  return new MersalError('MERSAL_INVALID_OPTIONS', `${field}: ${text}`, { details: { field } })
}

/** By the name in destinations. */
export function transportsOf({
  transport,
  bridges,
}: Pick<SharedOptions, 'transport' | 'bridges'>): ReadonlyMap<string, Transport> {
  const transports = new Map<string, Transport>(Object.entries(bridges ?? {}))
  if (transport !== undefined) transports.set('default', transport)
  return transports
}

/** Throws `MERSAL_INVALID_OPTIONS` unless these are transports. */
export function checkTransports(
  { transport, bridges }: Pick<SharedOptions, 'transport' | 'bridges'>,
  where: string,
): void {
  if (transport !== undefined) checkShape(`${where}.transport`, transport, ['publish', 'subscribe'])
  if (bridges === undefined) return
  checkOptions(`${where}.bridges`, bridges, Object.keys(bridges))
  for (const [name, bridge] of Object.entries(bridges))
    checkShape(`${where}.bridges.${name}`, bridge, ['publish', 'subscribe'])
  if ('default' in bridges)
    throw invalid(`${where}.bridges.default`, "this name belongs to 'transport'")
}

/** Throws `MERSAL_INVALID_OPTIONS` unless this is a store. */
export function checkStore(field: string, store: unknown): void {
  checkShape(field, store, ['open'])
  checkShape(`${field}.outbox`, (store as RelayStore).outbox, ['claim', 'settle', 'prune'])
}

/**
 * The stores with what each of them needs, in the order given. Throws `MERSAL_INVALID_OPTIONS`,
 * naming the field.
 */
export function servedStores<Kind extends RelayStore>(
  stores: Stores<Kind>,
  shared: SharedOptions,
  where: string,
): ServedStore<Kind>[] {
  checkOptions(`${where}.stores`, stores, Object.keys(stores))
  checkTransports(shared, where)
  relaySettings(shared.relay, `${where}.relay`)
  const served = Object.entries(stores).map(([name, given]) =>
    servedStore(name, given, shared, where),
  )
  if (served.length === 0)
    throw invalid(`${where}.stores`, 'is empty: give at least one store by its name')
  const seen = new Map<RelayStore, string>()
  for (const { name, store } of served) {
    const before = seen.get(store)
    if (before !== undefined)
      throw invalid(
        `${where}.stores.${name}`,
        `is the very store of '${before}': give each name a store of its own`,
      )
    seen.set(store, name)
  }
  return served
}

function servedStore<Kind extends RelayStore>(
  name: string,
  given: Kind | StoreEntry<Kind>,
  shared: SharedOptions,
  where: string,
): ServedStore<Kind> {
  const field = `${where}.stores.${name.slice(0, 100)}`
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/.test(name)) {
    throw invalid(
      field,
      "a store is called by 1 to 100 letters, digits, '.', '_' or '-', the first one a letter or digit",
    )
  }
  const alone = typeof given === 'object' && given !== null && 'outbox' in given
  const entry: StoreEntry<Kind> = alone ? { store: given } : given
  if (!alone) {
    checkOptions(field, entry, ['store', 'transport', 'bridges', 'relay'])
    if (entry.store === undefined)
      throw invalid(
        `${field}.store`,
        'is missing: give postgres() of mersal/postgres or sqlite() of mersal/sqlite',
      )
    checkTransports(entry, field)
  }
  checkStore(alone ? field : `${field}.store`, entry.store)
  if (entry.relay !== undefined && 'window' in entry.relay) {
    throw invalid(
      `${field}.relay.window`,
      "all stores share one window: give it in 'relay' beside 'stores'",
    )
  }
  const relay: RelayOptions = { ...shared.relay, ...entry.relay, express: false }
  return {
    name,
    store: entry.store,
    transports: transportsOf({
      transport: entry.transport ?? shared.transport,
      bridges: entry.bridges ?? shared.bridges,
    }),
    relay,
    settings: relaySettings(relay, `${field}.relay`),
  }
}

/**
 * Most messages in the hands of all relays together. Throws `MERSAL_INVALID_OPTIONS` if that leaves
 * one of them without.
 */
export function sharedWindow(
  served: readonly ServedStore[],
  { relay = {} }: SharedOptions,
  where: string,
): number {
  const batch = Math.max(...served.map(({ settings }) => settings.batchSize))
  const window =
    relay.window ??
    (served.length === 1
      ? (served[0] as ServedStore).settings.window
      : Math.max(1000, batch, PER_STORE * served.length))
  if (window < 2 * served.length && served.length > 1) {
    throw invalid(
      `${where}.relay.window`,
      `expected at least 2 messages for each of the ${served.length} stores, got ${window}`,
    )
  }
  return window
}
