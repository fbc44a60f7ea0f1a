import type { Envelope } from '../core/messages/message.ts'
import { checkNumber, checkOptions, invalidOption } from '../core/options.ts'
import type { Store } from '../core/store.ts'
import { type RelaySettings, relaySettings } from '../outbox/options.ts'
import type { IdempotencyConfig, OutboxConfig } from '../app/configs.ts'
import type { Mersal } from '../app/mersal.ts'
import { refusalsOf } from '../app/assembly.ts'
import type { Refuse } from '../app/requests/replying.ts'
import { appSettings, type Settings } from '../app/settings/settings.ts'
import type { MersalOptions } from '../app/types.ts'

/** What the apps of all tenants have alike: the options of `new Mersal()`. */
type SharedByTenants<Tx> = Omit<
  MersalOptions<Tx>,
  'tenant' | 'store' | 'unitOfWork' | 'outbox' | 'idempotency'
>

/** The names of the tenants, or what knows them. */
export type TenantNames = readonly string[] | (() => readonly string[] | Promise<readonly string[]>)

/** A store, and what is to be closed after it. */
export interface TenantPlace<Tx> {
  readonly store: Store<Tx>
  /** Called when the app of the tenant has stopped, such as `() => pool.end()`. Default: nothing. */
  readonly close?: () => unknown
}

/** Options of `createTenants()`. */
export interface TenantsOptions<Tx> extends SharedByTenants<Tx> {
  /**
   * The tenants at the start; `add` and `remove` change them. Or a function that lists them: it is
   * asked at the start, every `refreshMs`, and when a message names a tenant that it did not know.
   * Each name has 1 to 100 letters, digits, '.', '_' or '-', the first one a letter or a digit.
   */
  readonly tenants: TenantNames
  /**
   * Makes the store of a tenant: a schema, a database or a file of its own. Called when the tenant
   * is opened, and again after it was closed. Its app closes the store. For a pool of its own return
   * `{ store, close }`.
   */
  readonly store: (
    tenant: string,
  ) => Store<Tx> | TenantPlace<Tx> | Promise<Store<Tx> | TenantPlace<Tx>>
  /** Registers handlers and sagas, the same for every tenant. Default: none. */
  readonly setUp?: (app: Mersal<Tx>, tenant: string) => void
  /** How the relay of each tenant works. `window` is shared by all. Default: as each field says. */
  readonly outbox?: Pick<OutboxConfig<Tx>, 'relay' | 'runRelay'>
  /** The inbox of each tenant. Default: as each field says. */
  readonly idempotency?: Omit<IdempotencyConfig<Tx>, 'tracker'>
  /**
   * Names the tenant of a message that came without the header `tenant`. Undefined, or a function
   * that throws: the message becomes a dead letter. Default: all do.
   */
  readonly tenantOf?: (message: Envelope) => string | undefined
  /**
   * Messages of all tenants together that are handled at one time; of one tenant it is
   * `receive.concurrency`. From that to 10,000. Default four times that.
   */
  readonly concurrency?: number
  /**
   * How often a function in `tenants` is asked, in milliseconds. From 1000 to a day. Default
   * 60,000.
   */
  readonly refreshMs?: number
}

/** The options with every default filled in. */
export interface TenantsSettings<Tx>
  extends Pick<Settings<Tx>, 'name' | 'logger' | 'clock' | 'random' | 'transports' | 'sendOnly'> {
  readonly tenants: TenantNames
  readonly store: TenantsOptions<Tx>['store']
  readonly setUp: TenantsOptions<Tx>['setUp']
  readonly tenantOf: TenantsOptions<Tx>['tenantOf']
  /** What each app gets, without what is its own. */
  readonly options: Omit<MersalOptions<Tx>, 'tenant' | 'store'>
  readonly windowBytes: RelaySettings['windowBytes']
  /** For requests that no tenant gets. */
  readonly refuse: Refuse
  /** Undefined: as many as there are tenants. */
  readonly outboxWindow: number | undefined
  readonly stopGraceMs: number
  /** Of one tenant, and of all together. */
  readonly each: number
  readonly concurrency: number
  readonly refreshMs: number
}

const own = ['tenants', 'store', 'setUp', 'tenantOf', 'concurrency', 'refreshMs'] as const
const ofEach = ['outbox', 'idempotency'] as const
const refused: Readonly<Record<string, string>> = {
  tenant: "the apps get their names from 'tenants'",
  unitOfWork: "each tenant has the unit of work of its 'store'",
}

/** Fills in the defaults. Throws `MERSAL_INVALID_OPTIONS`, with field and remedy. */
export function tenantsSettings<Tx>(given: TenantsOptions<Tx>): TenantsSettings<Tx> {
  checkOptions('createTenants', given, Object.keys(Object(given)))
  for (const [name, why] of Object.entries(refused))
    if (Object.hasOwn(given, name)) throw invalidOption(name, why)
  const options = without(given, own)
  // Without what needs a store, which each tenant brings.
  const settings = appSettings(without(options, ofEach) as object as MersalOptions<Tx>)
  const { outbox = {}, idempotency = {} } = given
  checkOptions('outbox', outbox, ['relay', 'runRelay'])
  checkOptions('idempotency', idempotency, ['onDuplicate', 'retentionMs'])
  checkFunctions(given)
  const each = settings.receive.concurrency
  const bounds = { default: Math.min(4 * each, 10_000), min: each, max: 10_000 }
  const refresh = { default: 60_000, min: 1000, max: 86_400_000 }
  const { name, logger, clock, random, transports, sendOnly, stopGraceMs } = settings
  return {
    name,
    logger,
    clock,
    random,
    transports,
    sendOnly,
    stopGraceMs,
    tenants: given.tenants,
    store: given.store,
    setUp: given.setUp,
    tenantOf: given.tenantOf,
    options: options as TenantsSettings<Tx>['options'],
    windowBytes: relaySettings(outbox.relay).windowBytes,
    refuse: refusalsOf(settings),
    outboxWindow: outbox.relay?.window,
    each,
    concurrency: checkNumber('concurrency', given.concurrency, bounds),
    refreshMs: checkNumber('refreshMs', given.refreshMs, refresh),
  }
}

function checkFunctions<Tx>({ store, setUp, tenantOf }: TenantsOptions<Tx>): void {
  if (typeof store !== 'function') {
    const text =
      'expected a function that makes the store of a tenant, such as (tenant) => sqlite({ path: `data/${tenant}.db` })'
    throw invalidOption('store', text)
  }
  if (setUp !== undefined && typeof setUp !== 'function')
    throw invalidOption('setUp', 'expected a function that registers handlers on an app')
  if (tenantOf !== undefined && typeof tenantOf !== 'function')
    throw invalidOption('tenantOf', 'expected a function that names the tenant of a message')
}

function without(given: object, names: readonly string[]): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(given).filter(([name]) => !names.includes(name)))
}
