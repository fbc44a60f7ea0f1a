import { errorText } from '../core/errors/error-text.ts'
import { MersalError } from '../core/errors/errors.ts'
import type { Delivery, Disposition, Transport } from '../core/transport.ts'
import { toError } from '../lib/async/abort.ts'
import { abortable } from '../lib/async/linked-abort.ts'
import { uuidv7 } from '../lib/uuid.ts'
import { fulfilledWithin } from '../lib/async/within.ts'
import { runJanitor } from '../outbox/janitor.ts'
import { createRelay } from '../outbox/relay.ts'
import type { Relay } from '../outbox/types.ts'
import { warnOfFewConnections } from './unit/handler-capacity.ts'
import { Intake } from './receive/intake.ts'
import type { Settings } from './settings/settings.ts'
import type { Subscriptions } from './receive/subscriptions.ts'

export interface MachineryPorts<Tx> {
  readonly settings: Settings<Tx>
  readonly subscriptions: Subscriptions
  readonly open: () => Promise<void>
  readonly deliver: (delivery: Delivery) => Promise<Disposition>
  /** Resolves when no handler and no unit of ours is in progress. */
  readonly idle: () => Promise<void>
  /** Lets go of deliveries that wait for the store. */
  readonly stopWaiting: () => void
  /** Gives up handlers and units in progress. */
  readonly abort: (reason: Error) => void
}

/**
 * How long, after the grace period, each of the last steps may take before it is left behind, in
 * milliseconds. There are three at most, so that the default grace period ends below ten seconds.
 */
const LAST_MS = 500
/** The store ends its statements and its connections by itself. */
const STORE_MS = 1000

/** What runs in an app: consumers, relay, janitor; and the order in which they start and stop. */
export class Machinery<Tx> {
  readonly #ports: MachineryPorts<Tx>
  #intakes: readonly Intake[] = []
  readonly #closing = new AbortController()
  #relay: Relay | undefined
  #janitor: Promise<void> = Promise.resolve()
  #closed = false

  constructor(ports: MachineryPorts<Tx>) {
    this.#ports = ports
  }

  get relay(): Relay | undefined {
    return this.#relay
  }

  /** Aborts when the app closes. */
  get closing(): AbortSignal {
    return this.#closing.signal
  }

  /**
   * Database, subscriptions, relay, janitor, and consumers last: what arrives finds everything
   * ready.
   */
  async begin(signal: AbortSignal): Promise<void> {
    const { subscriptions, open, settings } = this.#ports
    await abortable(signal, open)
    this.#warn()
    const { name: app, receive, logger } = settings
    warnOfFewConnections({ app, concurrency: receive.asked, logger }, settings.units)
    this.#intakes = subscriptions.places().map((place) => this.#intake(place))
    for (const intake of this.#intakes) await abortable(signal, () => intake.declare())
    this.#startRelay()
    this.#startJanitor()
    for (const intake of this.#intakes) await abortable(signal, () => intake.consume())
  }

  #warn(): void {
    const { store, transports, logger, name: app } = this.#ports.settings
    for (const text of store?.warnings ?? []) logger.warn({ app, store: store?.name }, text)
    for (const [transport, { warnings = [] }] of transports)
      for (const text of warnings) logger.warn({ app, transport }, text)
  }

  /** A handler that was removed from the code leaves its subscription behind, durably. */
  async #declare(transport: string): Promise<void> {
    const { settings, subscriptions } = this.#ports
    const { logger, name: app } = settings
    await subscriptions.declare(transport)
    try {
      const topics = await subscriptions.left(transport)
      if (topics.length > 0)
        logger.warn(
          { app, transport, topics: topics.slice(0, 20) },
          'events come into the queue of this app that it neither handles nor subscribes to; they become dead letters. To take one back: app.unsubscribe(type)',
        )
    } catch (error) {
      logger.warn(
        { app, transport, error: errorText(toError(error)) },
        'whether events come that nobody handles could not be looked at',
      )
    }
  }

  #intake({ transport, read }: { readonly transport: string; readonly read: boolean }): Intake {
    const { settings, deliver } = this.#ports
    const { name: app, logger, clock, random, transports, receive } = settings
    const consumption = { queue: app, concurrency: receive.concurrency }
    const consume = (): Promise<AsyncDisposable> =>
      (transports.get(transport) as Transport).consume(consumption, deliver)
    const declare = (): Promise<void> => this.#declare(transport)
    return new Intake({
      app,
      transport,
      logger,
      clock,
      random,
      declare,
      consume: read ? consume : undefined,
    })
  }

  #startRelay(): void {
    const { store, storage, runRelay, name, transports, wakers, logger, clock, random, relay } =
      this.#ports.settings
    if (storage === undefined || !runRelay) return
    this.#relay = createRelay({
      environment: { app: name, clock, random, logger, newToken: () => uuidv7(clock.now()) },
      storage,
      transports,
      wakers,
      pauses: storage === store?.outbox ? store?.operations?.pauses : undefined,
      settings: relay,
    })
    this.#relay.start()
  }

  #startJanitor(): void {
    const { storage, tracker, retentionMs, name, clock, logger } = this.#ports.settings
    if (storage === undefined && tracker === undefined) return
    const inbox = tracker === undefined ? undefined : { tracker, retentionMs }
    this.#janitor = runJanitor(
      { app: name, storage, inbox, clock, logger },
      { signal: this.#closing.signal },
    )
  }

  /**
   * No new deliveries; handlers, units and the relay finish within the grace period; the rest is
   * given up; then everything is closed. Throws `MERSAL_STOP_TIMEOUT` after that, if anything was
   * given up.
   */
  async end({ graceMs, removeQueue = false }: Ending): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    const { settings, idle, abort, stopWaiting } = this.#ports
    stopWaiting()
    const deadline = settings.clock.monotonic() + graceMs
    const leftMs = (): number => Math.max(0, deadline - settings.clock.monotonic())
    const consumers = this.#intakes.map((intake) => intake[Symbol.asyncDispose]())
    const handled = (async () => {
      await this.#all(consumers, 'closing a consumer')
      await idle()
    })()
    const inTime = await this.#within(leftMs(), handled)
    if (!inTime) {
      abort(
        stopTimeout(
          settings.name,
          graceMs,
          'handlers or transactions were still at work; they were rolled back',
        ),
      )
      await this.#within(LAST_MS, handled)
    }
    const settled = (await this.#relay?.stop({ graceMs: leftMs() })) ?? true
    const removed = removeQueue && inTime && settled ? await this.#removeQueue(leftMs()) : undefined
    this.#closing.abort()
    await this.#close()
    if (!inTime)
      throw stopTimeout(
        settings.name,
        graceMs,
        'handlers or transactions were still at work; they were rolled back',
      )
    if (!settled)
      throw stopTimeout(
        settings.name,
        graceMs,
        'published messages were not settled; a relay takes them up again',
      )
    if (removed?.kind === 'failed') throw removed.error
  }

  /** From every transport that the queue is read from, after its last reader has gone. */
  async #removeQueue(withinMs: number): Promise<Removed> {
    const { settings, subscriptions } = this.#ports
    const { name, transports } = settings
    const remove = async (): Promise<void> => {
      for (const place of subscriptions.places().filter(({ read }) => read)) {
        const removal = await (transports.get(place.transport) as Transport).removeQueue?.(name)
        if (removal?.kind === 'kept') throw queueKept(name, removal.why)
      }
    }
    const outcome = remove().then(
      (): Removed => ({ kind: 'done' }),
      (error: unknown): Removed => ({ kind: 'failed', error: toError(error) }),
    )
    const late: Removed = {
      kind: 'failed',
      error: queueKept(name, 'the grace period ended before the broker had answered'),
    }
    return (await this.#within(withinMs, outcome)) ? await outcome : late
  }

  /** Transports and store last, since everything else uses them. */
  async #close(): Promise<void> {
    const { transports, store } = this.#ports.settings
    const closing = [...transports.values()].map((transport) => transport[Symbol.asyncDispose]())
    const closed = Promise.all([this.#janitor, this.#all(closing, 'closing a transport')])
    await this.#within(LAST_MS, closed)
    if (store !== undefined)
      await this.#within(STORE_MS, this.#all([store[Symbol.asyncDispose]()], 'closing the store'))
  }

  /**
   * Waits for all of them; what fails is logged, since there is nothing left to be done about it.
   */
  async #all(promises: readonly PromiseLike<void>[], what: string): Promise<void> {
    const { logger, name } = this.#ports.settings
    for (const result of await Promise.allSettled(promises)) {
      if (result.status === 'rejected')
        logger.error({ app: name, error: errorText(toError(result.reason)) }, `${what} failed`)
    }
  }

  /** Whether the promise settled in time. */
  #within(ms: number, promise: Promise<unknown>): Promise<boolean> {
    return fulfilledWithin(this.#ports.settings.clock, ms, promise)
  }
}

/** How an app is to be stopped. */
export interface Ending {
  readonly graceMs: number
  /** Removes the input queue, if it is empty, after its consumers have ended. */
  readonly removeQueue?: boolean
}

type Removed = { readonly kind: 'done' } | { readonly kind: 'failed'; readonly error: Error }

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
