import { AsyncLocalStorage } from 'node:async_hooks'
import { MersalError } from '../core/errors/errors.ts'
import { checkNumber, checkOptions, checkSignal } from '../core/options.ts'
import { errorFields } from '../core/errors/error-text.ts'
import { fulfilledWithin } from '../lib/async/within.ts'
import { printable } from '../lib/text.ts'
import { changingCapacity } from '../outbox/limits/capacity.ts'
import { appStopped, type AppState } from '../app/lifecycle.ts'
import type { Mersal } from '../app/mersal.ts'
import { misuse } from '../app/misuse.ts'
import { checkTenant } from '../app/settings/tenant.ts'
import { Dispatch } from './dispatch.ts'
import { type TenantsOptions, type TenantsSettings, tenantsSettings } from './options.ts'
import { Roster } from './roster.ts'
import { SharedQueue } from './shared-queue.ts'
import { Tenant, type TenantPorts, type TenantStatus } from './tenant.ts'
import type { Tenants } from './types.ts'

/**
 * One app over many databases or schemas: each tenant has a store of its own, all of them share one
 * input queue, the transports, and a window of their relays, in which each has its share.
 *
 * What an app of a tenant sends carries the header `tenant`. A message is handled in the database
 * of the tenant that its header names. Without a tenant, or with one that there is not, it becomes
 * a dead letter (`unknown-tenant`).
 *
 * The transports are closed by `stop()`. Throws `MERSAL_INVALID_OPTIONS`, with field and remedy.
 */
export function createTenants<Tx>(options: TenantsOptions<Tx>): Tenants<Tx> {
  return new TenantsOfApp(tenantsSettings(options))
}

/** Tenants that are opened at the same time by `start()`. */
const OPENED_AT_ONCE = 8
/** Capacity in the window for each tenant, unless `window` is given. */
const PER_TENANT = 20
/** After the grace period: what an app takes for its last steps, and the transports for theirs. */
const LAST_MS = 2500
const GRACE = { min: 0, max: 3_600_000 }

class TenantsOfApp<Tx> implements Tenants<Tx> {
  readonly #settings: TenantsSettings<Tx>
  readonly #roster: Roster
  readonly #dispatch: Dispatch<Tx>
  /** By the names of the transports. */
  readonly #queues: ReadonlyMap<string, SharedQueue>
  readonly #tenants = new Map<string, Tenant<Tx>>()
  readonly #ports: TenantPorts<Tx>
  readonly #ending = new AbortController()
  #state: AppState = 'idle'
  #starting: Promise<void> | undefined
  #stopping: Promise<void> | undefined

  constructor(settings: TenantsSettings<Tx>) {
    this.#settings = settings
    const { name, transports, outboxWindow, clock, logger } = settings
    const onChange = (): void => this.#follow()
    this.#roster = new Roster({ name, tenants: settings.tenants, clock, logger, onChange })
    const open = (tenant: string): Promise<unknown> => this.#tenant(tenant).open()
    this.#dispatch = new Dispatch({ settings, roster: this.#roster, open })
    this.#queues = new Map(
      [...transports].map(([key, transport]) => {
        const queue: SharedQueue = new SharedQueue({
          transport,
          queue: name,
          concurrency: this.#dispatch.concurrency,
          onDelivery: (delivery) =>
            this.#dispatch.deliver(delivery, key, (tenant, one) => queue.hand(tenant, one)),
        })
        return [key, queue]
      }),
    )
    this.#ports = {
      settings,
      capacity: changingCapacity({
        windowOf: (count) => outboxWindow ?? Math.max(1000, PER_TENANT * count),
        now: () => clock.monotonic(),
      }),
      transports: (tenant) =>
        new Map([...this.#queues].map(([key, queue]) => [key, queue.for(tenant)])),
      count: () => Math.max(1, this.#roster.names.length),
      ownerOf: (store) => [...this.#tenants.values()].find((one) => one.store === store)?.name,
      apart: AsyncLocalStorage.snapshot(),
    }
  }

  get name(): string {
    return this.#settings.name
  }

  get state(): AppState {
    return this.#state
  }

  async start(options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    checkOptions('start()', options, ['signal'])
    const signal = checkSignal('start().signal', options.signal)
    if (this.#stopping !== undefined) throw appStopped(this.name, 'start()')
    this.#starting ??= this.#ports.apart(() => this.#start(signal))
    return this.#starting
  }

  async get(name: string): Promise<Mersal<Tx>> {
    const tenant = checkTenant('get().tenant', name)
    this.#assertRunning('get()')
    if (!this.#roster.has(tenant) && this.#roster.asks) await this.#roster.refresh()
    if (!this.#roster.has(tenant)) throw unknown(tenant)
    return this.#tenant(tenant).open()
  }

  list(): readonly TenantStatus[] {
    return this.#roster.names
      .toSorted()
      .map((name) => this.#tenants.get(name)?.status ?? { name, state: 'closed' })
  }

  async add(name: string): Promise<void> {
    const tenant = checkTenant('add().tenant', name)
    this.#assertRunning('add()')
    if (this.#roster.asks) throw misuse('add()', ASKS)
    const isNew = !this.#roster.has(tenant)
    this.#roster.add(tenant)
    const added = this.#tenant(tenant)
    try {
      await added.open()
    } catch (error) {
      // Somebody may have removed it meanwhile, and added it again.
      const isThere = this.#tenants.get(tenant) === added
      if (isNew && isThere) await this.remove(tenant, { graceMs: 0 })
      throw error
    }
  }

  async remove(name: string, options: { readonly graceMs?: number } = {}): Promise<boolean> {
    const tenant = checkTenant('remove().tenant', name)
    checkOptions('remove()', options, ['graceMs'])
    const graceMs = this.#graceMs('remove().graceMs', options.graceMs)
    if (this.#roster.asks) throw misuse('remove()', ASKS)
    if (!this.#roster.has(tenant)) return false
    this.#roster.remove(tenant)
    await this.#close(tenant, graceMs)
    return true
  }

  async refresh(): Promise<void> {
    this.#assertRunning('refresh()')
    await this.#roster.refresh()
  }

  async stop(options: { readonly graceMs?: number } = {}): Promise<void> {
    checkOptions('stop()', options, ['graceMs'])
    const graceMs = this.#graceMs('stop().graceMs', options.graceMs)
    this.#stopping ??= this.#stop(graceMs)
    return this.#stopping
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  #graceMs(field: string, given: number | undefined): number {
    return checkNumber(field, given, { ...GRACE, default: this.#settings.stopGraceMs })
  }

  #assertRunning(call: string): void {
    if (this.#state === 'idle') throw misuse(call, 'call start() first')
    if (this.#ending.signal.aborted) throw appStopped(this.name, call)
  }

  #tenant(name: string): Tenant<Tx> {
    const known = this.#tenants.get(name)
    if (known !== undefined) return known
    const tenant = new Tenant(name, this.#ports)
    this.#tenants.set(name, tenant)
    return tenant
  }

  async #close(name: string, graceMs: number): Promise<void> {
    const tenant = this.#tenants.get(name)
    this.#tenants.delete(name)
    await tenant?.close(unknown(name), { graceMs })
  }

  async #start(signal: AbortSignal | undefined): Promise<void> {
    this.#state = 'starting'
    const stop = (): void => void this.stop().catch((error: unknown) => this.#log(error))
    signal?.addEventListener('abort', stop, { once: true, signal: this.#ending.signal })
    try {
      signal?.throwIfAborted()
      this.#warn()
      if (this.#roster.asks) await this.#roster.refresh()
      await this.#openFirst()
      this.#ending.signal.throwIfAborted()
    } catch (error) {
      await this.stop({ graceMs: 0 }).catch((failure: unknown) => this.#log(failure))
      throw error
    }
    this.#state = 'running'
    if (this.#roster.asks) void this.#keepAsking()
  }

  /** Once: the transports are shared, so the apps do not say it. */
  #warn(): void {
    const { name: app, logger, transports } = this.#settings
    for (const [transport, { warnings = [] }] of transports)
      for (const text of warnings) logger.warn({ app, transport }, text)
  }

  /** Resolves when one of them is open. Rejects with what the first one said if none can be. */
  async #openFirst(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const names = [...this.#roster.names]
    if (names.length === 0) return
    let failure: { readonly error: unknown } | undefined
    const openNext = async (): Promise<void> => {
      for (let name = names.shift(); name !== undefined; name = names.shift()) {
        if (this.#ending.signal.aborted || !this.#roster.has(name)) continue
        await this.#tenant(name)
          .open()
          .then(() => resolve())
          .catch((error: unknown) => (failure ??= { error }))
      }
    }
    void Promise.all(Array.from({ length: OPENED_AT_ONCE }, openNext)).then(() =>
      failure === undefined ? resolve() : reject(failure.error),
    )
    await promise
  }

  /** The tenants are what the function has listed. */
  #follow(): void {
    if (this.#state !== 'running') return
    for (const name of this.#roster.names)
      if (!this.#tenants.has(name))
        void this.#tenant(name)
          .open()
          .catch(() => undefined) // it is logged, and tried again
    for (const name of this.#tenants.keys())
      if (!this.#roster.has(name))
        void this.#close(name, this.#settings.stopGraceMs).catch((error: unknown) =>
          this.#log(error),
        )
  }

  async #keepAsking(): Promise<void> {
    const { clock, refreshMs, logger } = this.#settings
    const { signal } = this.#ending
    for (;;) {
      await clock.sleep(refreshMs, signal)
      if (signal.aborted) return
      await this.#roster
        .refresh()
        .catch((error: unknown) =>
          logger.warn({ app: this.name, ...errorFields(error) }, 'the tenants cannot be listed'),
        )
    }
  }

  async #stop(graceMs: number): Promise<void> {
    this.#state = 'stopping'
    this.#ending.abort(appStopped(this.name, 'start()'))
    this.#dispatch.stop()
    const { clock, transports } = this.#settings
    const reading = Promise.allSettled([...this.#queues.values()].map((queue) => queue.stop()))
    const reason = appStopped(this.name, 'get()')
    const apps = [...this.#tenants.values()]
    const stops = await Promise.allSettled(apps.map((app) => app.close(reason, { graceMs })))
    await fulfilledWithin(clock, LAST_MS, reading)
    const closing = [...transports.values()].map((one) => one[Symbol.asyncDispose]())
    const closed = Promise.allSettled(closing)
    await fulfilledWithin(clock, LAST_MS, closed)
    this.#state = 'stopped'
    const failed = stops.find((stop) => stop.status === 'rejected')
    if (failed !== undefined) throw failed.reason
  }

  #log(error: unknown): void {
    this.#settings.logger.error({ app: this.name, ...errorFields(error) }, 'stopping failed')
  }
}

const ASKS = 'a function lists the tenants: change what it returns, then call refresh()'

function unknown(tenant: string): MersalError {
  const text = `there is no tenant '${printable(tenant)}': add it with add(), or let the function in 'tenants' list it`
  return new MersalError('MERSAL_UNKNOWN_TENANT', text, { details: { tenant } })
}
