import {
  checkBoolean,
  checkDisposable,
  checkOptions,
  checkShape,
  invalidOption,
} from '../../core/options.ts'
import type { OutboxStorage, Waker } from '../../core/outbox.ts'
import type { Savepoints, SharedUnits, Store, UnitCapacity, UnitOfWork } from '../../core/store.ts'
import { checkCommitLog } from '../../outbox/many-stores/relays-options.ts'
import { type RelaySettings, relaySettings } from '../../outbox/options.ts'
import type { MersalOptions, OutboxConfig } from '../types.ts'

/** What an app has of a database. */
export interface DatabaseSettings<Tx> {
  readonly store: Store<Tx> | undefined
  readonly unitOfWork: UnitOfWork<Tx> | undefined
  /** Undefined where messages cannot share a transaction. */
  readonly sharing: SharedUnits<Tx> | undefined
  /** Undefined where units of work are those of the user, or take no connections. */
  readonly units: UnitCapacity | undefined
  readonly savepoints: Savepoints<Tx> | undefined
  readonly storage: OutboxStorage<Tx> | undefined
  readonly relay: RelaySettings
  readonly runRelay: boolean
  readonly wakers: readonly Waker[]
}

export function databaseSettings<Tx>(options: MersalOptions<Tx>): DatabaseSettings<Tx> {
  const { store, unitOfWork, outbox = {} } = options
  if (store !== undefined) checkStore(store)
  checkOutbox(outbox)
  if (unitOfWork !== undefined && typeof unitOfWork !== 'function')
    throw invalidOption('unitOfWork', 'expected a function')
  const storage = outbox.storage ?? store?.outbox
  if (storage === undefined) checkWithoutStorage(options)
  // What belongs to the unit of work of the store belongs to no other one.
  const ours = unitOfWork === undefined ? store : undefined
  const relay = relaySettings(outbox.relay)
  checkCommitLog('outbox', storage === store?.outbox ? store : undefined, relay)
  return {
    store,
    unitOfWork: unitOfWork ?? store?.unitOfWork,
    sharing: ours?.sharing,
    units: ours?.units,
    savepoints: ours?.savepoints,
    storage,
    relay,
    runRelay: checkBoolean('outbox.runRelay', outbox.runRelay) ?? true,
    wakers: [...(store?.wakers ?? []), ...(outbox.wakers ?? [])],
  }
}

const storageMethods = ['save', 'claim', 'settle', 'prune']

function checkStore<Tx>(store: Store<Tx>): void {
  checkShape('store', store, ['unitOfWork', 'open'])
  checkDisposable('store', store)
  checkShape('store.outbox', store.outbox, storageMethods)
  checkShape('store.tracker', store.tracker, ['track', 'prune'])
}

function checkOutbox<Tx>(outbox: OutboxConfig<Tx>): void {
  checkOptions('outbox', outbox, ['storage', 'relay', 'runRelay', 'wakers'])
  if (outbox.storage !== undefined) checkShape('outbox.storage', outbox.storage, storageMethods)
  const { wakers = [] } = outbox as { readonly wakers?: unknown }
  if (!Array.isArray(wakers) || wakers.some((waker) => typeof waker !== 'function'))
    throw invalidOption('outbox.wakers', 'expected an array of functions')
}

function checkWithoutStorage<Tx>({ unitOfWork, outbox = {} }: MersalOptions<Tx>): void {
  if (unitOfWork !== undefined) {
    const text = 'needs outbox.storage (or a store), else messages would not belong to the unit'
    throw invalidOption('unitOfWork', text)
  }
  if (Object.keys(outbox).length > 0)
    throw invalidOption('outbox', 'needs outbox.storage, or a store')
}
