import { errorFields } from '../../core/errors/error-text.ts'
import { type ErrorCode, MersalError } from '../../core/errors/errors.ts'
import type { CommitLog } from '../../core/commit-log.ts'
import type { Logger } from '../../core/telemetry.ts'
import { backoffMs } from '../../lib/async/backoff.ts'
import { abortable, linkAbort } from '../../lib/async/linked-abort.ts'
import type { Clock, Random } from '../../lib/async/clock.ts'
import { fulfilledWithin } from '../../lib/async/within.ts'
import { uuidv7 } from '../../lib/uuid.ts'
import { startWithJanitor } from '../janitor.ts'
import type { SharedCapacity } from '../limits/capacity.ts'
import { createRelay } from '../relay.ts'
import type { Relay } from '../types.ts'
import type { RelayStore, ServedStore } from './relays-options.ts'

/** The relay of one store. */
export interface ServedRelay {
  /** The name in `stores`. */
  readonly name: string
  /** The name in events and logs. */
  readonly app: string
  /**
   * `opening`: its store could not be opened yet; it is tried again and again, at most 30 s apart.
   */
  readonly state: 'opening' | Relay['state']
  /** Messages in its hands. */
  readonly held: number
  wake(): void
  /**
   * Resolves when nothing that is due and reachable is left, and nothing is in flight. Waits until
   * the store is open, but not for rows that another relay has claimed. Throws
   * `MERSAL_APP_STOPPED` if it was not started, or is stopped.
   */
  drain(options?: { readonly signal?: AbortSignal }): Promise<void>
}

/** What the relays of one process have in common. */
export interface Surroundings {
  /** Of all of them together. */
  readonly name: string
  readonly logger: Logger
  readonly clock: Clock
  readonly random: Random
  readonly capacity: SharedCapacity | undefined
  /** There is no other store. */
  readonly alone: boolean
  /** It waits for its store even if there is no other one. */
  readonly patient: boolean
  /** The share of this store. */
  readonly windowBytes: number
}

/** Between two attempts to open a store. */
const REOPEN = { firstMs: 1000, longestMs: 30_000 }
/** After the grace period, for the last statement of a janitor. */
const LAST_MS = 500

/** Opens one store, now or when its database answers, and runs a relay and a janitor on it. */
export class StoreRelay {
  readonly #store: RelayStore
  readonly #name: string
  readonly #app: string
  readonly #surroundings: Surroundings
  readonly #relay: Relay
  readonly #closing = new AbortController()
  readonly #running = Promise.withResolvers<void>()
  #janitor: Promise<void> = Promise.resolve()
  readonly #commitLog: CommitLog | undefined
  #started = false
  #opened = false

  constructor({ name, store, transports, settings }: ServedStore, surroundings: Surroundings) {
    const { clock, random, logger, capacity, alone, windowBytes } = surroundings
    this.#store = store
    this.#name = name
    this.#app = alone ? surroundings.name : `${surroundings.name}/${name}`
    this.#surroundings = surroundings
    this.#commitLog = settings.commitLog ? store.commitLog : undefined
    const newToken = (): string => uuidv7(clock.now())
    this.#relay = createRelay({
      environment: { app: this.#app, clock, random, logger, newToken },
      storage: store.outbox,
      transports,
      wakers: store.wakers,
      pauses: store.operations?.pauses,
      settings: { ...settings, windowBytes },
      log: this.#commitLog,
      capacity,
    })
  }

  /** What others see of it. */
  get relay(): ServedRelay {
    const state = (): ServedRelay['state'] =>
      this.#opened || this.#closing.signal.aborted ? this.#relay.state : 'opening'
    const held = (): number => this.#relay.held
    return {
      name: this.#name,
      app: this.#app,
      get state() {
        return state()
      },
      get held() {
        return held()
      },
      wake: () => this.#relay.wake(),
      drain: (options) => this.#drain(options),
    }
  }

  async #drain(options?: { readonly signal?: AbortSignal }): Promise<void> {
    if (this.#started && !this.#opened) {
      using link = linkAbort(this.#closing.signal, options?.signal)
      await abortable(link.signal, () => this.#running.promise)
    }
    await this.#relay.drain(options)
  }

  /** Settles after the first attempt to open the store. */
  async start(): Promise<void> {
    if (this.#closing.signal.aborted || this.#opened)
      throw new MersalError('MERSAL_APP_STOPPED', 'these relays have been started; create new ones')
    this.#started = true
    const problem = await this.#open()
    if (problem === undefined) return this.#run()
    const { alone, patient, logger } = this.#surroundings
    if (alone && !(patient && mayPass(problem))) throw problem
    logger.error(
      { app: this.#app, store: this.#name, ...errorFields(problem) },
      `the store could not be opened; trying again${alone ? '' : ', and serving the others'}`,
    )
    void this.#openLater()
    throw problem
  }

  async stop(graceMs: number): Promise<boolean> {
    this.#closing.abort(
      new MersalError('MERSAL_APP_STOPPED', 'the relay was stopped before its store was open'),
    )
    const settled = await this.#relay.stop({ graceMs })
    // Its statement may wait for a database that does not answer; what it has not removed is
    // removed later.
    await fulfilledWithin(this.#surroundings.clock, LAST_MS, this.#janitor)
    return settled
  }

  async #open(): Promise<unknown> {
    return await tryToOpen(this.#store, this.#commitLog)
  }

  #run(): void {
    if (this.#closing.signal.aborted) return
    this.#opened = true
    this.#running.resolve()
    // Kept messages only: how long inbox records are kept is known to the apps that consume.
    const { clock, logger } = this.#surroundings
    const janitor = { app: this.#app, storage: this.#store.outbox, clock, logger }
    this.#janitor = startWithJanitor(this.#relay, janitor, this.#closing)
  }

  async #openLater(): Promise<void> {
    const { signal } = this.#closing
    const { clock, random, logger } = this.#surroundings
    for (let failures = 1; !signal.aborted; failures++) {
      await clock.sleep(backoffMs(REOPEN, failures, random), signal)
      if (signal.aborted || (await this.#open()) !== undefined) continue
      const fields = { app: this.#app, store: this.#name }
      logger.info(fields, 'the store could be opened; its relay runs')
      return this.#run()
    }
  }
}

/** What people have to correct. */
const lasting: ReadonlySet<unknown> = new Set<ErrorCode>([
  'MERSAL_INVALID_OPTIONS',
  'MERSAL_STORE_UNSAFE',
  'MERSAL_NOT_A_DATABASE',
  'MERSAL_SCHEMA_TOO_NEW',
  'MERSAL_SCHEMA_MISSING',
])

/** Whether a store that could not be opened may be opened later, with nothing changed. */
export function mayPass(problem: unknown): boolean {
  return !(problem instanceof MersalError && lasting.has(problem.code))
}

/** What went wrong, if anything. */
async function tryToOpen(store: RelayStore, log: CommitLog | undefined): Promise<unknown> {
  try {
    await store.open()
    await log?.prepare()
    return undefined
  } catch (thrown) {
    return thrown ?? new Error('the store could not be opened')
  }
}
