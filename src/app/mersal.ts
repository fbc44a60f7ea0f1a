import { MersalError } from '../core/errors/errors.ts'
import type { Given } from '../core/messages/given.ts'
import type { CommandType, EventType, MessageType } from '../core/messages/message.ts'
import { checkNumber, checkOptions } from '../core/options.ts'
import { linkAbort } from '../lib/async/linked-abort.ts'
import { type Assembly, assemble } from './assembly.ts'
import type { AppState } from './lifecycle.ts'
import { type Settings, appSettings } from './settings/settings.ts'
import type {
  HandleOptions,
  Handler,
  MersalOptions,
  SendOptions,
  Sender,
  TransactionOptions,
  UnitSender,
} from './types.ts'
import { boundedInside } from './unit/joining.ts'

let partsOf: <Tx>(app: Mersal<Tx>) => Assembly<Tx> | undefined

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
  readonly #parts: Assembly<Tx>

  /**
   * Throws `MERSAL_INVALID_OPTIONS`, naming the field and the remedy. Touches neither database nor
   * broker.
   */
  constructor(options: MersalOptions<Tx>) {
    this.#parts = assemble(appSettings(options))
    this.direct = this.#parts.senders.direct
  }

  get name(): string {
    return this.#parts.settings.name
  }

  get state(): AppState {
    return this.#parts.lifecycle.state
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
    if (this.#parts.settings.sendOnly)
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
    return this.#parts.senders.ambient.send(type, body, options)
  }

  /** As `send`, to this app's own queue. */
  sendLocal<Body>(
    type: CommandType<Body>,
    body: Given<Body>,
    options?: SendOptions,
  ): Promise<string> {
    return this.#parts.senders.ambient.sendLocal(type, body, options)
  }

  /** As `send`, to every subscriber of the event. */
  publish<Body>(type: EventType<Body>, body: Given<Body>, options?: SendOptions): Promise<string> {
    return this.#parts.senders.ambient.publish(type, body, options)
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
    return this.#parts.transactions.run(work, options)
  }

  /**
   * Sends within a transaction that somebody else owns: a handle of the kind that the store
   * understands. Each message is written at once; it exists if and only if that transaction
   * commits.
   */
  within(tx: Tx): Sender {
    return this.#parts.senders.within(tx)
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
    const { attempts, lifecycle } = this.#parts
    return attempts.ambient.run(undefined, () => lifecycle.start(options.signal))
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
    const { settings, attempts, lifecycle } = this.#parts
    const bounds = { default: settings.stopGraceMs, min: 0, max: 3_600_000 }
    if (removeQueue) checkRemoval(settings)
    if (attempts.ambient.getStore() !== undefined)
      settings.logger.warn({ app: settings.name }, WAITS_FOR_ITSELF)
    const graceMs = checkNumber('stop().graceMs', options.graceMs, bounds)
    return lifecycle.stop({ graceMs, removeQueue })
  }

  /** There may be rows in the outbox: the relay looks soon. */
  wake(): void {
    this.#parts.relay.wake()
  }

  /**
   * Resolves when the outbox holds nothing that is due and that the relay of this app can deliver;
   * what another relay has claimed, and what waits behind it, is not waited for. Needs a started
   * app that runs a relay, or has no outbox. Throws `MERSAL_STORE_BUSY` if it waited in vain inside
   * an open transaction, which may hold the only writer.
   */
  async drain(options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    const { settings, relay, transactions } = this.#parts
    if (settings.storage === undefined) return
    if (relay.state === 'idle') throw misuse('drain()', NO_RELAY)
    using link = linkAbort(options.signal)
    const inside = {
      what: 'drain()',
      clock: settings.clock,
      outer: transactions.outer(),
      abort: (reason: Error) => link.abort(reason),
    }
    await boundedInside(inside, () => relay.drain({ signal: link.signal }))
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  static {
    partsOf = (app) => (#parts in app ? app.#parts : undefined)
  }
}

/** The parts of an app, for `mersal/testing`. */
export function assemblyOf<Tx>(app: Mersal<Tx>): Assembly<Tx> {
  const parts = partsOf(app)
  if (parts === undefined) throw new TypeError('expected an app made by new Mersal()')
  return parts
}

const NO_RELAY = 'no relay runs in this app: start() it, without outbox.runRelay: false'

const WAITS_FOR_ITSELF =
  'stop() was called inside a handler or a transaction of this app and waits for it: do not await it there'

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
