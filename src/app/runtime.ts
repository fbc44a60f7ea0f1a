import { AsyncLocalStorage } from 'node:async_hooks'
import { errorFields } from '../core/errors/error-text.ts'
import { MersalError } from '../core/errors/errors.ts'
import type { Transport } from '../core/transport.ts'
import { toError } from '../lib/async/abort.ts'
import { abortable } from '../lib/async/linked-abort.ts'
import { fulfilledWithin } from '../lib/async/within.ts'
import { startWithJanitor } from '../outbox/janitor.ts'
import type { AppRelay } from './app-relay.ts'
import type { Draining } from './drain/drain.ts'
import { runStartHooks, runStopHooks } from './hooks.ts'
import type { Ending, Startable } from './lifecycle.ts'
import type { Once } from './once/once.ts'
import type { Intake, Reception } from './receive/intake.ts'
import { createIntakes } from './receive/intakes.ts'
import type { Receiver } from './receive/receiver.ts'
import type { Subscriptions } from './receive/subscriptions.ts'
import type { Settings } from './settings/settings.ts'
import { warnOfFewConnections } from './unit/handler-capacity.ts'
import type { OpenUnits } from './unit/open-units.ts'

export interface RuntimePorts<Tx> {
  readonly settings: Settings<Tx>
  readonly subscriptions: Subscriptions
  readonly receiver: Pick<Receiver<Tx>, 'deliver' | 'idle' | 'stopWaiting' | 'waiting'>
  readonly units: Pick<OpenUnits<Tx>, 'idle'>
  readonly relay: AppRelay
  readonly draining: Pick<Draining, 'stop'>
  /** Removes answers of requests that were kept long enough. */
  readonly once: Pick<Once<Tx>, 'prune'>
  /** Ends the requests that wait for replies. */
  readonly requests: { readonly close: () => Promise<void> }
  /** Opens the store, once. */
  readonly open: () => Promise<void>
  /** Aborted when the grace period is over: gives up handlers and units in progress. */
  readonly forced: AbortController
  /** Aborted when everything is closed. */
  readonly closing: AbortController
}

/**
 * How long, after the grace period, each of the last steps may take before it is left behind, in
 * milliseconds. There are three at most, so that the default grace period ends below ten seconds.
 */
const LAST_MS = 500
/** The store ends its statements and its connections by itself. */
const STORE_MS = 1000
/** What the steps after the grace period may take together; the hooks of the user come last. */
const AFTER_GRACE_MS = 2 * LAST_MS + STORE_MS

const UNFINISHED = 'handlers or transactions were still at work; they were rolled back'
const UNSETTLED = 'published messages were not settled; a relay takes them up again'

/** What runs in an app: consumers, relay, janitor; and the order in which they start and stop. */
export class Runtime<Tx> implements Startable {
  readonly #ports: RuntimePorts<Tx>
  #intakes: readonly Intake[] = []
  #janitor: Promise<void> = Promise.resolve()
  #closed = false
  /** That of the request that happens to start the app must not reach the handlers. */
  readonly #inOwnContext = AsyncLocalStorage.snapshot()

  constructor(ports: RuntimePorts<Tx>) {
    this.#ports = ports
  }

  /**
   * Database, hooks of the user, subscriptions, relay, janitor, and consumers last: what arrives
   * finds everything ready.
   */
  async begin(signal: AbortSignal): Promise<void> {
    const { subscriptions, receiver, open, settings } = this.#ports
    await abortable(signal, open)
    this.#warn()
    await runStartHooks(settings, signal)
    const deliver = receiver.deliver.bind(receiver)
    this.#intakes = createIntakes({ settings, subscriptions, deliver, waiting: receiver.waiting })
    for (const intake of this.#intakes) await abortable(signal, () => intake.declare())
    this.#inOwnContext(() => this.#startRelay())
    for (const intake of this.#intakes)
      await abortable(signal, () => this.#inOwnContext(() => intake.consume()))
  }

  /** What it receives; empty before it has begun. */
  get receptions(): readonly Reception[] {
    return this.#intakes
  }

  #warn(): void {
    const { store, transports, logger, name: app, receive, units } = this.#ports.settings
    for (const text of store?.warnings ?? []) logger.warn({ app, store: store?.name }, text)
    for (const [transport, { warnings = [] }] of transports)
      for (const text of warnings) logger.warn({ app, transport }, text)
    warnOfFewConnections({ app, concurrency: receive.asked, logger }, units)
  }

  #startRelay(): void {
    const { settings, relay, once, closing } = this.#ports
    const { storage, tracker, retentionMs, name: app, clock, logger } = settings
    const inbox = tracker === undefined ? undefined : { tracker, retentionMs }
    const janitor = { app, storage, inbox, once, clock, logger }
    this.#janitor = startWithJanitor(relay, janitor, { signal: closing.signal })
  }

  /**
   * No new deliveries. Handlers, units and the relay finish within the grace period, the rest is
   * given up, then everything is closed. Throws `MERSAL_STOP_TIMEOUT` after that if anything was
   * given up.
   */
  async end({ graceMs, removeQueue = false }: Ending): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    const { settings, relay, draining, closing } = this.#ports
    const { clock, name } = settings
    const deadline = clock.monotonic() + graceMs
    const leftMs = (): number => Math.max(0, deadline - clock.monotonic())
    const timeout = stopTimeout(name, graceMs, UNFINISHED)
    const finished = await this.#finish(leftMs(), timeout)
    const relays = [relay, draining].map((one) => one.stop({ graceMs: leftMs() }))
    const settled = (await Promise.all(relays)).every(Boolean)
    const kept = removeQueue && finished && settled ? await this.#removeQueue(leftMs()) : undefined
    await this.#within(leftMs(), this.#ports.requests.close())
    closing.abort()
    await this.#close()
    const hooksMs = Math.max(0, deadline + AFTER_GRACE_MS - clock.monotonic())
    const failed = await runStopHooks(settings, hooksMs)
    if (!finished) throw timeout
    if (!settled) throw stopTimeout(name, graceMs, UNSETTLED)
    if (kept !== undefined) throw kept
    if (failed !== undefined) throw failed
  }

  /** Whether consumers, handlers and units ended in time. The others are given up. */
  async #finish(withinMs: number, reason: MersalError): Promise<boolean> {
    const { receiver, units, forced } = this.#ports
    receiver.stopWaiting()
    const consumers = this.#intakes.map((intake) => intake[Symbol.asyncDispose]())
    const finishing = (async () => {
      await this.#all(consumers, 'closing a consumer')
      await receiver.idle()
      await units.idle()
    })()
    if (await this.#within(withinMs, finishing)) return true
    forced.abort(reason)
    await this.#within(LAST_MS, finishing)
    return false
  }

  /**
   * Removes the queue from every transport that it is read from, after its last reader has gone.
   * Returns why it was kept, if it was.
   */
  async #removeQueue(withinMs: number): Promise<Error | undefined> {
    const { settings, subscriptions } = this.#ports
    const { name, transports } = settings
    const remove = async (): Promise<void> => {
      for (const place of subscriptions.places().filter(({ read }) => read)) {
        const removal = await (transports.get(place.transport) as Transport).removeQueue?.(name)
        if (removal?.kind === 'kept') throw queueKept(name, removal.why)
      }
    }
    const failure = remove().then(() => undefined, toError)
    return (await this.#within(withinMs, failure))
      ? await failure
      : queueKept(name, 'the grace period ended before the broker had answered')
  }

  /** Closes transports and store last, since everything else uses them. */
  async #close(): Promise<void> {
    const { transports, store } = this.#ports.settings
    const closing = [...transports.values()].map((transport) => transport[Symbol.asyncDispose]())
    const closed = Promise.all([this.#janitor, this.#all(closing, 'closing a transport')])
    await this.#within(LAST_MS, closed)
    if (store !== undefined)
      await this.#within(STORE_MS, this.#all([store[Symbol.asyncDispose]()], 'closing the store'))
  }

  /** Waits for all of them. Nothing can be done about a failure any more, so it is logged. */
  async #all(promises: readonly PromiseLike<void>[], what: string): Promise<void> {
    const { logger, name: app } = this.#ports.settings
    for (const result of await Promise.allSettled(promises)) {
      if (result.status === 'rejected')
        logger.error({ app, ...errorFields(result.reason) }, `${what} failed`)
    }
  }

  /** Whether the promise was fulfilled in time. */
  #within(ms: number, promise: Promise<unknown>): Promise<boolean> {
    return fulfilledWithin(this.#ports.settings.clock, ms, promise)
  }
}

function queueKept(app: string, why: string): MersalError {
  return new MersalError(
    'MERSAL_QUEUE_KEPT',
    `the app '${app}' has stopped, and its queue was not removed, since ${why}`,
  )
}

function stopTimeout(app: string, graceMs: number, what: string): MersalError {
  return new MersalError(
    'MERSAL_STOP_TIMEOUT',
    `the app '${app}' did not stop within ${graceMs} ms: ${what}`,
  )
}
