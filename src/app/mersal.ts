import { MersalError } from '../core/errors/errors.ts'
import type { CommandType, Envelope, EventType, MessageType } from '../core/messages/message.ts'
import type { Given } from '../core/messages/given.ts'
import { checkNumber, checkOptions } from '../core/options.ts'
import { linkAbort } from '../lib/async/linked-abort.ts'
import { type Assembly, assemble } from './assembly.ts'
import { boundedInside } from './unit/joining.ts'
import { rememberInternals } from './internals.ts'
import { type AppState, Lifecycle, appStopped } from './lifecycle.ts'
import { type SendCall, createSender } from './send/sender.ts'
import { callName, directCall, foreignCall, noTransaction, unitCall } from './send/send-calls.ts'
import { type Settings, appSettings } from './settings/settings.ts'
import { type Unit, unitEnded } from './unit/unit.ts'
import type {
  HandleOptions,
  Handler,
  MersalOptions,
  SendOptions,
  Sender,
  TransactionOptions,
  UnitSender,
} from './types.ts'

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
  #toldOfNesting = false

  /**
   * Throws `MERSAL_INVALID_OPTIONS`, naming the field and the remedy. Touches neither database nor
   * broker.
   */
  constructor(options: MersalOptions<Tx>) {
    this.#settings = appSettings(options)
    this.#parts = assemble(this.#settings)
    const { machinery } = this.#parts
    const { name, logger, stopGraceMs } = this.#settings
    const begin = (signal: AbortSignal): Promise<void> => machinery.begin(signal)
    this.#lifecycle = new Lifecycle({
      name,
      logger,
      stopGraceMs,
      begin,
      end: (ending) => machinery.end(ending),
    })
    this.direct = createSender((...call) =>
      this.#guarded(call, directCall(this.#parts.senders, this.#cause())),
    )
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
  handle<Body>(
    type: MessageType<'command' | 'event', Body>,
    handler: Handler<Given<Body>, Tx>,
    options: HandleOptions = {},
  ): void {
    if (this.#settings.sendOnly)
      throw misuse('handle()', 'this app only sends: leave out sendOnly to give it an input queue')
    if (this.state !== 'idle')
      throw misuse('handle()', 'register every handler before start(), or messages would find none')
    this.#parts.handlers.add(type, handler, options)
  }

  /**
   * `Sender.send` in the transaction that the current code runs in; without one
   * `MERSAL_NO_TRANSACTION`. Without an outbox: in a handler when it has succeeded, elsewhere
   * directly.
   */
  send<Body>(type: CommandType<Body>, body: Given<Body>, options?: SendOptions): Promise<string> {
    return this.#ambientSender.send(type, body, options)
  }

  /** As `send`, to this app's own queue. */
  sendLocal<Body>(
    type: CommandType<Body>,
    body: Given<Body>,
    options?: SendOptions,
  ): Promise<string> {
    return this.#ambientSender.sendLocal(type, body, options)
  }

  /** As `send`, to every subscriber of the event. */
  publish<Body>(type: EventType<Body>, body: Given<Body>, options?: SendOptions): Promise<string> {
    return this.#ambientSender.publish(type, body, options)
  }

  /**
   * Runs the work in one transaction: what it writes and what it sends is committed together, or
   * nothing is. Always in a transaction of its own, also inside another one. With `join`, given the
   * sender of an open one, as a part of that one: if it then fails, the whole transaction does,
   * even if the failure is caught; an aborted signal then fails it once the work has ended.
   *
   * Rolls back and throws the error of the work, or `MERSAL_NOT_AWAITED`, or `MERSAL_ROLLED_BACK`
   * (a send or nested transaction failed, even if caught), or the signal's reason.
   * `MERSAL_COMMIT_UNKNOWN`: the answer of the database was lost; it may have committed.
   * `MERSAL_UNIT_ENDED`: the transaction to join has ended. `MERSAL_STORE_BUSY`: inside another
   * one, it waited in vain for what that one probably holds.
   */
  transaction<Result>(
    work: (tx: Tx, sender: UnitSender) => Promise<Result>,
    options: TransactionOptions = {},
  ): Promise<Result> {
    const { join } = options
    if (join === undefined || join === false || this.#parts.runUnit === undefined)
      return this.#newUnit(work, options)
    try {
      checkOptions('transaction()', options, ['signal', 'join'])
      return this.#joined(this.#parts.unitSenders.unitOf(join), work, options.signal)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  /**
   * Sends within a transaction that somebody else owns: a handle of the kind that the store
   * understands. Each message is written at once; it exists if and only if that transaction
   * commits.
   */
  within(tx: Tx): Sender {
    const { storage } = this.#parts.senders
    if (storage === undefined)
      throw misuse('within()', 'this app has no outbox: give it a store, or outbox.storage')
    if (tx === undefined || tx === null) {
      throw new MersalError(
        'MERSAL_NOT_A_TRANSACTION',
        `within(): expected the handle of an open transaction, got ${String(tx)}`,
      )
    }
    const { ambient, units, unitSenders, senders } = this.#parts
    const unit = ambient.getStore()?.unit
    if (unit?.late === true && unit.tx === tx)
      return createSender((verb, type) => Promise.reject(unitEnded(callName(verb, type))))
    // By the handle, not by the context: a queue in this process may have carried the call into
    // that of another unit.
    const ours = unit?.open === true && unit.tx === tx ? unit : units.ofHandle(tx)
    if (ours !== undefined) return unitSenders.make(ours, {})
    const call = foreignCall(senders, storage, tx, this.#cause())
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
   * cannot be reached is no failure: there is one warning, and the app receives as soon as the
   * broker is there. What only a person can mend (a wrong password, a queue with other properties)
   * rejects. A start that fails closes everything again. When the signal aborts, the app stops.
   * Repeated calls share one start.
   */
  async start(options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    checkOptions('start()', options, ['signal'])
    // Called inside a unit, what runs for as long as the app does must not carry that unit along.
    return this.#parts.ambient.run(undefined, () => this.#lifecycle.start(options.signal))
  }

  /**
   * Stops consuming, lets handlers, transactions and the relay finish, then closes transports and
   * store. After `graceMs` (default: the option `stopGraceMs`) the rest is rolled back and left to
   * a next start, everything is closed all the same, and this throws `MERSAL_STOP_TIMEOUT`.
   * Repeated calls share one stop. `removeQueue`, of the first call: then removes the input queue
   * with its subscriptions, for an app that does not come again and that runs in no other process.
   * Throws `MERSAL_QUEUE_KEPT` if messages or dead letters are in it; nothing is lost.
   */
  async stop(
    options: { readonly graceMs?: number; readonly removeQueue?: boolean } = {},
  ): Promise<void> {
    checkOptions('stop()', options, ['graceMs', 'removeQueue'])
    const { removeQueue = false } = options
    if (removeQueue) checkRemoval(this.#settings)
    const preset = this.#settings.stopGraceMs
    if (this.#parts.ambient.getStore() !== undefined) this.#warnOfWaitingForItself()
    const graceMs = checkNumber('stop().graceMs', options.graceMs, {
      default: preset,
      min: 0,
      max: 3_600_000,
    })
    return this.#lifecycle.stop({ graceMs, removeQueue })
  }

  /** There may be rows in the outbox: the relay looks soon. */
  wake(): void {
    this.#parts.machinery.relay?.wake()
  }

  /**
   * Resolves when the outbox holds nothing that is due and that the relay of this app can deliver;
   * what another relay has claimed, and what waits behind it, is not waited for. Needs a started
   * app that runs a relay, or has no outbox. Throws `MERSAL_STORE_BUSY` if it waited in vain inside
   * an open transaction, which may hold the only writer.
   */
  async drain(options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    if (this.#settings.storage === undefined) return
    const { relay } = this.#parts.machinery
    if (relay === undefined)
      throw misuse(
        'drain()',
        'no relay runs in this app: start() it, without outbox.runRelay: false',
      )
    using link = linkAbort(options.signal)
    const inside = {
      what: 'drain()',
      clock: this.#settings.clock,
      outer: this.#outer(),
      abort: (reason: Error) => link.abort(reason),
    }
    await boundedInside(inside, () => relay.drain({ signal: link.signal }))
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  #joined<Result>(
    unit: Unit<Tx>,
    work: (tx: Tx, sender: UnitSender) => Promise<Result>,
    signal: AbortSignal | undefined,
  ): Promise<Result> {
    const { ambient, unitSenders } = this.#parts
    return unit.join(async () => {
      signal?.throwIfAborted()
      const scope = ambient.getStore()
      const here = scope?.unit === unit && scope.level !== undefined ? { level: scope.level } : {}
      const result = await ambient.run({ unit, cause: unit.cause, ...here }, () =>
        work(unit.tx, unitSenders.make(unit, {})),
      )
      // Only now: work that were left behind here could write through the handle after the unit has
      // ended.
      signal?.throwIfAborted()
      return result
    })
  }

  async #newUnit<Result>(
    work: (tx: Tx, sender: UnitSender) => Promise<Result>,
    options: TransactionOptions,
  ): Promise<Result> {
    checkOptions('transaction()', options, ['signal', 'join'])
    const { ambient, runUnit, unitSenders, open } = this.#parts
    if (this.state === 'stopping' || this.state === 'stopped')
      throw appStopped(this.name, 'transaction()')
    if (runUnit === undefined)
      throw misuse(
        'transaction()',
        'this app has no unit of work: give it a store, or unitOfWork with outbox.storage',
      )
    const outer = this.#outer()
    if (outer !== undefined) this.#nested(outer, options)
    await open()
    return runUnit({
      cause: ambient.getStore()?.cause,
      signal: options.signal,
      outer,
      work: (unit) => work(unit.tx, unitSenders.make(unit, {})),
    })
  }

  /** The unit that is open in this asynchronous context; perhaps that of another request. */
  #outer(): Unit<Tx> | undefined {
    const unit = this.#parts.ambient.getStore()?.unit
    return unit?.open === true ? unit : undefined
  }

  /** Tells once that what looks nested is not. */
  #nested(outer: Unit<Tx>, { join }: TransactionOptions): void {
    if (this.#parts.rehearsed.has(outer)) {
      throw misuse(
        'transaction()',
        'inside capture() it would be committed: pass { join: sender } to make it part of what is rolled back',
      )
    }
    if (join === false || this.#toldOfNesting) return
    this.#toldOfNesting = true
    this.#settings.logger.warn(
      { app: this.name },
      'app.transaction() was called inside an open transaction of this app, and is a transaction of its own, which commits or fails by itself: ' +
        'pass { join: sender }, with the sender of the outer callback or the context of the handler, to be part of that one, ' +
        'or { join: false } to say that it is meant to be separate (said once)',
    )
  }

  #warnOfWaitingForItself(): void {
    const { logger, name } = this.#settings
    const text =
      'stop() was called inside a handler or a transaction of this app and waits for it: do not await it there'
    logger.warn({ app: name }, text)
  }

  #cause(): Envelope | undefined {
    return this.#parts.ambient.getStore()?.cause
  }

  #ambientCall(): SendCall {
    const scope = this.#parts.ambient.getStore()
    if (
      !this.#settings.ambientSends &&
      (scope !== undefined || this.#settings.storage !== undefined)
    )
      return noTransaction
    return scope?.unit === undefined
      ? this.#parts.looseCall(scope?.cause)
      : unitCall(this.#parts.senders, scope.unit)
  }

  #guarded(call: Parameters<SendCall>, target: SendCall): Promise<string> {
    if (this.state === 'stopped')
      return Promise.reject(appStopped(this.name, callName(call[0], call[1])))
    return target(...call)
  }
}

function checkRemoval({
  sendOnly,
  transports,
}: Pick<Settings<never>, 'sendOnly' | 'transports'>): void {
  if (sendOnly) throw misuse('stop().removeQueue', 'this app only sends and has no input queue')
  const without = [...transports.values()].find((transport) => transport.removeQueue === undefined)
  if (without !== undefined)
    throw misuse('stop().removeQueue', `the transport '${without.name}' cannot remove queues`)
}

function misuse(call: string, text: string): MersalError {
  return new MersalError('MERSAL_INVALID_OPTIONS', `${call}: ${text}`)
}
