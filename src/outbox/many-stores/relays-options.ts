import { mainTransport } from '../../core/messages/message.ts'
import {
  checkNamed,
  checkOptions,
  checkShape,
  checkTransports,
  type GivenTransports,
  invalidOption,
} from '../../core/options.ts'
import type { CommitLog } from '../../core/commit-log.ts'
import type { StoreOperations } from '../../core/operations.ts'
import type { OutboxStorage, Waker } from '../../core/outbox.ts'
import type { Transport } from '../../core/transport.ts'
import { type RelayOptions, type RelaySettings, relaySettings } from '../options.ts'

/** What relays need of a store; every `Store` is one. */
export interface RelayStore extends AsyncDisposable {
  readonly name: string
  readonly outbox: Pick<OutboxStorage<never>, 'claim' | 'settle' | 'prune' | 'clock' | 'waiting'>
  readonly wakers: readonly Waker[]
  readonly commitLog?: CommitLog
  readonly operations?: StoreOperations
  open(): Promise<void>
}

/** One of several stores: a shard, a tenant, a region. */
export interface StoreEntry<Kind extends RelayStore = RelayStore> {
  /** The database. */
  readonly store: Kind
  /** Its broker. Default: that of all. */
  readonly transport?: Transport
  /** Further transports by name. Default: those of all. */
  readonly bridges?: Readonly<Record<string, Transport>>
  /** What is different for this store. Not `window`, which all share. Default: nothing. */
  readonly relay?: Omit<RelayOptions, 'window'>
}

/** By name: the store alone, or with what is different for it. */
export type Stores<Kind extends RelayStore = RelayStore> = Readonly<
  Record<string, Kind | StoreEntry<Kind>>
>

/** What all stores share unless they say otherwise. */
export interface SharedOptions {
  /** The broker, `default` in destinations. Default: each store names its own. */
  readonly transport?: Transport | undefined
  /** Further transports by name. Default none. */
  readonly bridges?: Readonly<Record<string, Transport>> | undefined
  /** How the relays work. `window` is shared by all of them. Default: as each field says. */
  readonly relay?: RelayOptions | undefined
}

/** One store with everything that its relay needs. */
export interface ServedStore<Kind extends RelayStore = RelayStore> {
  readonly name: string
  readonly store: Kind
  /** By the name in destinations. */
  readonly transports: ReadonlyMap<string, Transport>
  /** Without an express lane: nobody commits in the process of these relays. */
  readonly settings: RelaySettings
}

/** Capacity in the window for each store, unless `window` is given. */
const PER_STORE = 20

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
  checkNamed(`${where}.stores`, stores, 'a store')
  const common: Common = {
    transports: checkTransports(`${where}.`, shared),
    relay: shared.relay,
    settings: { ...relaySettings(shared.relay, `${where}.relay`), express: false },
  }
  const served = Object.entries(stores).map(([name, given]) =>
    servedStore(`${where}.stores.${name.slice(0, 100)}`, name, given, common),
  )
  for (const { store, settings } of served) checkCommitLog(where, store, settings)
  checkServed(served, where)
  return served
}

/** Throws `MERSAL_INVALID_OPTIONS` if the settings need a commit log and the store has none. */
export function checkCommitLog(
  where: string,
  store: { readonly name: string; readonly commitLog?: CommitLog } | undefined,
  { commitLog, express }: Pick<RelaySettings, 'commitLog' | 'express'>,
): void {
  if (store?.commitLog !== undefined) return
  const field = express === 'commit-log' ? 'express' : 'commitLog'
  if (!commitLog && express !== 'commit-log') return
  const found = store === undefined ? 'there is no store' : `this store is '${store.name}'`
  throw invalidOption(
    `${where}.relay.${field}`,
    `needs a store that has a commit log, which postgres() of mersal/postgres has; ${found}`,
  )
}

function checkServed(served: readonly ServedStore[], where: string): void {
  if (served.length === 0)
    throw invalidOption(`${where}.stores`, 'is empty: give at least one store by its name')
  const seen = new Map<RelayStore, string>()
  for (const { name, store } of served) {
    const before = seen.get(store)
    if (before !== undefined)
      throw invalidOption(
        `${where}.stores.${name}`,
        `is the very store of '${before}': give each name a store of its own`,
      )
    seen.set(store, name)
  }
}

/** What every store gets that says nothing else. */
interface Common {
  readonly transports: ReadonlyMap<string, Transport>
  readonly relay: RelayOptions | undefined
  readonly settings: RelaySettings
}

function servedStore<Kind extends RelayStore>(
  field: string,
  name: string,
  given: Kind | StoreEntry<Kind>,
  common: Common,
): ServedStore<Kind> {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/.test(name)) {
    throw invalidOption(
      field,
      "a store is called by 1 to 100 letters, digits, '.', '_' or '-', the first one a letter or digit",
    )
  }
  const { transports, settings } = common
  if (isStore(given)) {
    checkStore(field, given)
    return { name, store: given, transports, settings }
  }
  checkOptions(field, given, ['store', 'transport', 'bridges', 'relay'])
  if (given.store === undefined)
    throw invalidOption(
      `${field}.store`,
      'is missing: give postgres() of mersal/postgres or sqlite() of mersal/sqlite',
    )
  checkStore(`${field}.store`, given.store)
  return {
    name,
    store: given.store,
    transports: transportsFor(field, given, transports),
    settings: settingsFor(field, given, common),
  }
}

function isStore<Kind extends RelayStore>(given: Kind | StoreEntry<Kind>): given is Kind {
  return typeof given === 'object' && given !== null && 'outbox' in given
}

/** Bridges of an entry stand in place of those of all. */
function transportsFor(
  field: string,
  given: GivenTransports,
  common: ReadonlyMap<string, Transport>,
): ReadonlyMap<string, Transport> {
  const own = checkTransports(`${field}.`, given)
  const inherited =
    given.bridges === undefined ? common : [...common].filter(([name]) => name === mainTransport)
  return new Map([...inherited, ...own])
}

function settingsFor(
  field: string,
  { relay }: Pick<StoreEntry, 'relay'>,
  common: Common,
): RelaySettings {
  if (relay === undefined) return common.settings
  const where = `${field}.relay`
  relaySettings(relay, where) // by itself: what is no object must not be spread
  if ('window' in relay)
    throw invalidOption(
      `${where}.window`,
      "all stores share one window: give it in 'relay' beside 'stores'",
    )
  return { ...relaySettings({ ...common.relay, ...relay }, where), express: false }
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
    throw invalidOption(
      `${where}.relay.window`,
      `expected at least 2 messages for each of the ${served.length} stores, got ${window}`,
    )
  }
  return window
}
