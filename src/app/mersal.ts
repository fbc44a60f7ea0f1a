import { MersalError } from '../core/errors.ts'
import type { CommandType, Envelope, EventType, MessageType } from '../core/message.ts'
import { checkNumber, checkOptions } from '../core/options.ts'
import { type Assembly, assemble } from './assembly.ts'
import { rememberInternals } from './internals.ts'
import { type AppState, Lifecycle, appStopped } from './lifecycle.ts'
import { type SendCall, createSender } from './sender.ts'
import { callName, directCall, foreignCall, unitCall } from './senders.ts'
import { type Settings, appSettings } from './settings.ts'
import { unitEnded } from './unit.ts'
import type { HandleOptions, Handler, MersalOptions, SendOptions, Sender } from './types.ts'

/**
 * An app: a name, an input queue of that name, handlers, and the ways to send.
 *
 * `Tx` is the handle of a transaction that the store hands out; `undefined` without a store.
 * The app takes over the transport, the bridges and the store that it is given: `stop()` closes
 * them. Several apps in one process share nothing.
 */
export class Mersal<Tx = undefined> implements AsyncDisposable, Sender {
  /**
   * Sends to the broker at once, past any outbox and any transaction; resolves when the broker
   * holds the message. Throws `MERSAL_UNROUTABLE`, `MERSAL_REFUSED`, `MERSAL_TOO_LARGE`,
   * `MERSAL_UNAVAILABLE` (not sent) or `MERSAL_UNKNOWN_OUTCOME` (perhaps sent).
   */
  readonly direct: Sender
  readonly #settings: Settings<Tx>
  readonly #parts: Assembly<Tx>
  readonly #lifecycle: Lifecycle
  readonly #ambientSender: Sender

  /** Throws `MERSAL_INVALID_OPTIONS`, naming the field and the remedy. Touches neither database nor broker. */
  constructor(options: MersalOptions<Tx>) {
    this.#settings = appSettings(options)
    this.#parts = assemble(this.#settings)
    const { machinery } = this.#parts
    const { name, logger, stopGraceMs } = this.#settings
    const begin = (signal: AbortSignal): Promise<void> => machinery.begin(signal)
    this.#lifecycle = new Lifecycle({ name, logger, stopGraceMs, begin, end: (graceMs) => machinery.end(graceMs) })
    this.direct = createSender((...call) => this.#guarded(call, directCall(this.#parts.senders, this.#cause())))
    this.#ambientSender = createSender((...call) => this.#guarded(call, this.#ambientCall()))
    rememberInternals(this, this.#parts)
  }

  get name(): string {
    return this.#settings.name
  }

  get state(): AppState {
    return this.#lifecycle.state
  }

  /**
   * Registers the handler of a message type; before `start()`. One handler per type and app:
   * several things to do for one event are several calls in one handler (one transaction, retried
   * together) or several apps (each with its own queue, transactions and retries).
   * Throws `MERSAL_DUPLICATE_HANDLER`.
   */
  handle<Body>(type: MessageType<'command' | 'event', Body>, handler: Handler<NoInfer<Body>, Tx>, options: HandleOptions = {}): void {
    if (this.#settings.sendOnly) throw misuse('handle()', 'this app only sends: leave out sendOnly to give it an input queue')
    if (this.state !== 'idle') throw misuse('handle()', 'register every handler before start(), or messages would find none')
    this.#parts.handlers.add(type, handler, options)
  }

  /** `Sender.send` in the transaction that the current code runs in; without one `MERSAL_NO_TRANSACTION`. Without an outbox: directly. */
  send<Body>(type: CommandType<Body>, body: NoInfer<Body>, options?: SendOptions): Promise<string> {
    return this.#ambientSender.send(type, body, options)
  }

  /** As `send`, to this app's own queue. */
  sendLocal<Body>(type: CommandType<Body>, body: NoInfer<Body>, options?: SendOptions): Promise<string> {
    return this.#ambientSender.sendLocal(type, body, options)
  }

  /** As `send`, to every subscriber of the event. */
  publish<Body>(type: EventType<Body>, body: NoInfer<Body>, options?: SendOptions): Promise<string> {
    return this.#ambientSender.publish(type, body, options)
  }

  /**
   * Runs the work in one transaction: what it writes and what it sends is committed together, or
   * nothing is. Inside a transaction of this app it joins that one; if it then fails, the whole
   * transaction does, even if the failure is caught; an aborted signal then fails it once the work has ended.
   *
   * Rolls back and throws the error of the work, or `MERSAL_NOT_AWAITED`, or `MERSAL_ROLLED_BACK`
   * (a send or nested transaction failed, even if caught), or the signal's reason.
   * `MERSAL_COMMIT_UNKNOWN`: the answer of the database was lost; it may have committed.
   */
  transaction<Result>(work: (tx: Tx, sender: Sender) => Promise<Result>, options: { readonly signal?: AbortSignal } = {}): Promise<Result> {
    const { ambient, senders } = this.#parts
    const current = ambient.getStore()?.unit
    if (current?.open !== true) return this.#newUnit(work, options)
    return current.join(async () => {
      checkOptions('transaction()', options, ['signal'])
      options.signal?.throwIfAborted()
      const result = await work(current.tx, createSender(unitCall(senders, current)))
      // Only now: work that were left behind here could write through the handle after the unit has ended.
      options.signal?.throwIfAborted()
      return result
    })
  }

  /**
   * Sends within a transaction that somebody else owns: a handle of the kind that the store
   * understands. Each message is written at once; it exists if and only if that transaction commits.
   */
  within(tx: Tx): Sender {
    const { storage } = this.#parts.senders
    if (storage === undefined) throw misuse('within()', 'this app has no outbox: give it a store, or outbox.storage')
    if (tx === undefined || tx === null) {
      throw new MersalError('MERSAL_NOT_A_TRANSACTION', `within(): expected the handle of an open transaction, got ${String(tx)}`)
    }
    const unit = this.#parts.ambient.getStore()?.unit
    if (unit?.late === true && unit.tx === tx) return createSender((verb, type) => Promise.reject(unitEnded(callName(verb, type))))
    const ours = unit?.open === true && unit.tx === tx
    const call = ours ? unitCall(this.#parts.senders, unit) : foreignCall(this.#parts.senders, storage, tx, this.#cause())
    return createSender((...given) => this.#guarded(given, call))
  }

  /**
   * Makes the event deliver into the input queue, durably. Noted before `start()`, done at once
   * afterwards: then it throws `MERSAL_UNAVAILABLE` while the broker is away.
   */
  subscribe(type: EventType<unknown>): Promise<void> {
    return this.#parts.subscriptions.change('subscribe()', type, true)
  }

  /** Takes the event back, durably; also one that has a handler, for as long as this app lives. */
  unsubscribe(type: EventType<unknown>): Promise<void> {
    return this.#parts.subscriptions.change('unsubscribe()', type, false)
  }

  /**
   * Opens the database, declares queue and subscriptions, starts relay and consumers. A broker that
   * cannot be reached is no failure: there is one warning, and the app receives as soon as the broker
   * is there. What only a person can mend (a wrong password, a queue with other properties) rejects.
   * A start that fails closes everything again. When the signal aborts, the app stops. Repeated calls
   * share one start.
   */
  async start(options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    checkOptions('start()', options, ['signal'])
    return this.#lifecycle.start(options.signal)
  }

  /**
   * Stops consuming, lets handlers, transactions and the relay finish, then closes transports and
   * store. After `graceMs` (default: the option `stopGraceMs`) the rest is rolled back and left to a
   * next start, everything is closed all the same, and this throws `MERSAL_STOP_TIMEOUT`.
   * Repeated calls share one stop.
   */
  async stop(options: { readonly graceMs?: number } = {}): Promise<void> {
    checkOptions('stop()', options, ['graceMs'])
    const preset = this.#settings.stopGraceMs
    return this.#lifecycle.stop(checkNumber('stop().graceMs', options.graceMs, { default: preset, min: 0, max: 3_600_000 }))
  }

  /** There may be rows in the outbox: the relay looks soon. */
  wake(): void {
    this.#parts.machinery.relay?.wake()
  }

  /**
   * Resolves when the outbox holds nothing that is due and that the relay of this app can deliver; what another relay has claimed, and what
   * waits behind it, is not waited for. Needs a started app that runs a relay, or has no outbox.
   */
  async drain(options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    if (this.#settings.storage === undefined) return
    const { relay } = this.#parts.machinery
    if (relay === undefined) throw misuse('drain()', 'no relay runs in this app: start() it, without outbox.runRelay: false')
    await relay.drain(options)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  async #newUnit<Result>(work: (tx: Tx, sender: Sender) => Promise<Result>, options: { readonly signal?: AbortSignal }): Promise<Result> {
    checkOptions('transaction()', options, ['signal'])
    const { ambient, runUnit, senders, open } = this.#parts
    if (this.state === 'stopping' || this.state === 'stopped') throw appStopped(this.name, 'transaction()')
    if (runUnit === undefined)
      throw misuse('transaction()', 'this app has no unit of work: give it a store, or unitOfWork with outbox.storage')
    await open()
    return runUnit({
      cause: ambient.getStore()?.cause,
      signal: options.signal,
      work: async (unit) => work(unit.tx, createSender(unitCall(senders, unit))),
    })
  }

  #cause(): Envelope | undefined {
    return this.#parts.ambient.getStore()?.cause
  }

  #ambientCall(): SendCall {
    const scope = this.#parts.ambient.getStore()
    return scope?.unit === undefined ? this.#parts.looseCall(scope?.cause) : unitCall(this.#parts.senders, scope.unit)
  }

  #guarded(call: Parameters<SendCall>, target: SendCall): Promise<string> {
    if (this.state === 'stopped') return Promise.reject(appStopped(this.name, callName(call[0], call[1])))
    return target(...call)
  }
}

function misuse(call: string, text: string): MersalError {
  return new MersalError('MERSAL_INVALID_OPTIONS', `${call}: ${text}`)
}
