import { errorCode, errorFields } from '../core/errors/error-text.ts'
import { MersalError } from '../core/errors/errors.ts'
import { checkOptions, checkShape, invalidOption } from '../core/options.ts'
import type { Store } from '../core/store.ts'
import type { Logger } from '../core/telemetry.ts'
import type { Transport } from '../core/transport.ts'
import { abortable, linkAbort } from '../lib/async/linked-abort.ts'
import { type Backoff, backoffMs } from '../lib/async/backoff.ts'
import { isLateAnswer } from '../lib/async/late-answer.ts'
import type { JoinedCapacity, SharedCapacity } from '../outbox/limits/capacity.ts'
import { Mersal } from '../app/mersal.ts'
import { withSurroundings } from '../app/settings/surroundings.ts'
import type { TenantPlace, TenantsSettings } from './options.ts'

/** How one tenant is. */
export interface TenantStatus {
  readonly name: string
  /**
   * `away`: its app could not be opened; it is tried again and again, at most 30 s apart.
   */
  readonly state: 'closed' | 'opening' | 'open' | 'away'
  /** Why it is away: the code of the error. */
  readonly reason?: string
}

export interface TenantPorts<Tx> {
  readonly settings: TenantsSettings<Tx>
  /** The transports as this tenant sees them. */
  readonly transports: (tenant: string) => ReadonlyMap<string, Transport>
  readonly capacity: SharedCapacity
  /** How many share the bytes of the window. */
  readonly count: () => number
  /** The tenant whose store this is, if it is one. */
  readonly ownerOf: (store: object) => string | undefined
  /** Runs the work outside of whatever context the caller is in. */
  readonly apart: <Result>(work: () => Result) => Result
}

/** Between two attempts to open a tenant. */
const REOPEN: Backoff = { firstMs: 1000, longestMs: 30_000 }
const LEAST_WINDOW_BYTES = 1 << 20

/** The app of one tenant: opened when it is needed, and again when that has failed. */
export class Tenant<Tx> {
  readonly name: string
  readonly #ports: TenantPorts<Tx>
  readonly #ending = new AbortController()
  #app: Mersal<Tx> | undefined
  #store: Store<Tx> | undefined
  #opening: Promise<Mersal<Tx>> | undefined
  #failures = 0
  #failure: { readonly error: unknown; readonly until: number } | undefined

  constructor(name: string, ports: TenantPorts<Tx>) {
    this.name = name
    this.#ports = ports
  }

  get status(): TenantStatus {
    const { name } = this
    if (this.#app?.state === 'running') return { name, state: 'open' }
    if (this.#failure !== undefined)
      return { name, state: 'away', reason: errorCode(this.#failure.error) ?? 'none' }
    return { name, state: this.#opening === undefined ? 'closed' : 'opening' }
  }

  /** Its store, while it has one. */
  get store(): object | undefined {
    return this.#store
  }

  /**
   * Its running app. Rejects with why it cannot be opened; until the next attempt is due, with the
   * same.
   */
  async open(): Promise<Mersal<Tx>> {
    this.#ending.signal.throwIfAborted()
    if (this.#app?.state === 'running') return this.#app
    if (this.#opening !== undefined) return this.#opening
    const { clock } = this.#ports.settings
    if (this.#failure !== undefined && clock.monotonic() < this.#failure.until)
      throw this.#failure.error
    return this.#open()
  }

  /** Ends its units and its relay. What is not settled stays in its outbox. */
  async close(reason: MersalError, options: { readonly graceMs?: number }): Promise<void> {
    this.#ending.abort(reason)
    await this.#opening?.catch(() => undefined)
    await this.#app?.stop(options)
  }

  #open(): Promise<Mersal<Tx>> {
    const opening = this.#ports.apart(() => this.#make())
    this.#opening = opening
    void opening.then(
      () => this.#opened(),
      (error: unknown) => this.#failed(error),
    )
    return opening
  }

  #opened(): void {
    this.#opening = undefined
    if (this.#failure !== undefined)
      this.#ports.settings.logger.info(this.#fields, 'the tenant could be opened')
    this.#failure = undefined
    this.#failures = 0
  }

  #failed(error: unknown): void {
    this.#opening = undefined
    if (this.#ending.signal.aborted) return
    const { clock, random, logger } = this.#ports.settings
    const delayMs = backoffMs(REOPEN, ++this.#failures, random)
    this.#failure = { error, until: clock.monotonic() + delayMs }
    const fields = { ...this.#fields, ...errorFields(error), delayMs }
    logger.error(fields, 'the tenant could not be opened; trying again, and serving the others')
    void this.#openLater(delayMs)
  }

  async #openLater(delayMs: number): Promise<void> {
    const { signal } = this.#ending
    await this.#ports.settings.clock.sleep(delayMs, signal)
    if (signal.aborted || this.#opening !== undefined || this.#app?.state === 'running') return
    await this.#open().catch(() => undefined) // noted where it failed
  }

  async #make(): Promise<Mersal<Tx>> {
    const { settings } = this.#ports
    // The app is to be stopped by `close` alone, with the grace period that it is given.
    using starting = linkAbort(this.#ending.signal)
    const app = await this.#newApp(await this.#newPlace())
    try {
      if (isLateAnswer(settings.setUp?.(app, this.name)))
        throw invalidOption('setUp', 'returned a promise: it must register everything at once')
      await app.start({ signal: starting.signal })
    } catch (error) {
      await app.stop({ graceMs: 0 })
      throw error
    }
    this.#app = app
    return app
  }

  /** One that comes when nobody waits for it any more is closed. */
  async #newPlace(): Promise<TenantPlace<Tx>> {
    const { signal } = this.#ending
    const making = (async () => placeOf(await this.#ports.settings.store(this.name)))()
    try {
      const place = await abortable(signal, () => making)
      this.#check(place)
      this.#store = place.store
      return place
    } catch (error) {
      if (signal.aborted) void this.#closeLate(making)
      throw error
    }
  }

  /** What was made for a tenant that was closed meanwhile. If it was not made, nothing is left. */
  async #closeLate(making: Promise<TenantPlace<Tx>>): Promise<void> {
    const place = await making.catch(() => undefined)
    try {
      if (place !== undefined) await closePlace(place)
    } catch (error) {
      const fields = { ...this.#fields, ...errorFields(error) }
      this.#ports.settings.logger.warn(fields, 'the store of the tenant could not be closed')
    }
  }

  async #newApp({ store, close }: TenantPlace<Tx>): Promise<Mersal<Tx>> {
    let joined: JoinedCapacity | undefined
    const capacity = {
      join: (nudge: () => void) => (joined = this.#ports.capacity.join(nudge)),
    }
    const leave = (): void => {
      joined?.leave()
      if (this.#store === store) this.#store = undefined
    }
    const { onStop = [] } = this.#ports.settings.options
    const hooks = [...onStop, leave, ...(close === undefined ? [] : [() => close()])]
    try {
      const options = { ...this.#options(), store, onStop: hooks }
      return new Mersal<Tx>(withSurroundings(options, { capacity }))
    } catch (error) {
      leave()
      await closePlace({ store, ...(close === undefined ? {} : { close }) })
      throw error
    }
  }

  #check(place: TenantPlace<Tx>): void {
    // What is misspelt would never be closed.
    checkOptions('store', place, ['store', 'close'])
    const { store, close } = place
    checkShape('store', store, ['unitOfWork', 'open'])
    if (close !== undefined && typeof close !== 'function')
      throw invalidOption('store.close', 'expected a function')
    const owner = this.#ports.ownerOf(store)
    if (owner === undefined || owner === this.name) return
    const text = `gave the tenant '${this.name}' the very store of '${owner}': make one for each`
    throw invalidOption('store', text)
  }

  #options() {
    const { settings, transports, count } = this.#ports
    const { options, windowBytes } = settings
    const [transport, ...bridges] = transports(this.name).values()
    const share = Math.max(LEAST_WINDOW_BYTES, Math.floor(windowBytes / count()))
    const { bridges: named = {} } = options
    const names = Object.keys(named)
    return {
      ...options,
      tenant: this.name,
      transport: transport as Transport,
      bridges: Object.fromEntries(names.map((name, index) => [name, bridges[index] as Transport])),
      outbox: { ...options.outbox, relay: { ...options.outbox?.relay, windowBytes: share } },
      logger: tagged(settings.logger, this.name),
    }
  }

  get #fields(): Readonly<Record<string, unknown>> {
    return { app: this.#ports.settings.name, tenant: this.name }
  }
}

function placeOf<Tx>(given: Store<Tx> | TenantPlace<Tx>): TenantPlace<Tx> {
  return 'store' in Object(given) ? (given as TenantPlace<Tx>) : { store: given as Store<Tx> }
}

async function closePlace<Tx>({ store, close }: TenantPlace<Tx>): Promise<void> {
  await store[Symbol.asyncDispose]()
  await close?.()
}

/** Each line says whose it is. */
function tagged(logger: Logger, tenant: string): Logger {
  return {
    debug: (fields, message) => logger.debug({ tenant, ...fields }, message),
    info: (fields, message) => logger.info({ tenant, ...fields }, message),
    warn: (fields, message) => logger.warn({ tenant, ...fields }, message),
    error: (fields, message) => logger.error({ tenant, ...fields }, message),
  }
}
