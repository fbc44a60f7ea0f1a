import type { Given } from '../core/messages/given.ts'
import type { CommandType, EventType, MessageType } from '../core/messages/message.ts'
import type { Cancellation } from '../core/outbox.ts'
import type { MessageState } from '../core/operations.ts'
import { checkBoolean, checkNumber, checkOptions, checkSignal } from '../core/options.ts'
import { type Assembly, assemble } from './assembly.ts'
import type { Drained, DrainOptions } from './drain/drain.ts'
import type { AppHealth } from './health/health.ts'
import type { AppState } from './lifecycle.ts'
import type { OnceRequest, OnceResult } from './once/request.ts'
import type { SagaType } from './sagas/definition.ts'
import type { SagaReactions } from './sagas/types.ts'
import { checkRemoval, misuse, notAnApp } from './misuse.ts'
import type { OutcomeOptions } from './requests/outcome.ts'
import type { RequestOptions } from './requests/requests.ts'
import { announced } from './settings/announced.ts'
import { appSettings } from './settings/settings.ts'
import type {
  HandleOptions,
  Handler,
  MersalOptions,
  EventOptions,
  SendOptions,
  Sender,
  TransactionOptions,
  TransactionSender,
  UnitSender,
} from './types.ts'

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
   * Sends to the broker at once, past any outbox and any transaction. Each call resolves when the
   * broker holds the message. Throws `MERSAL_UNROUTABLE`, `MERSAL_REFUSED`, `MERSAL_TOO_LARGE`,
   * `MERSAL_UNAVAILABLE` (not sent) or `MERSAL_UNKNOWN_OUTCOME` (perhaps sent).
   */
  readonly direct: Sender
  /** How the app is, with reasons. Waits for an answer at most 5 seconds. Never rejects. */
  readonly health: () => Promise<AppHealth>
  readonly #parts: Assembly<Tx>

  /** Throws `MERSAL_INVALID_OPTIONS`, with field and remedy. Touches no database and no broker. */
  constructor(options: MersalOptions<Tx>) {
    this.#parts = assemble(appSettings(announced(options)))
    this.direct = this.#parts.senders.direct
    this.health = () => this.#parts.health.look()
  }

  /** The name of the app, and of its input queue. */
  get name(): string {
    return this.#parts.settings.name
  }

  /** How far the app has come: from 'idle' before `start()` to 'stopped'. */
  get state(): AppState {
    return this.#parts.lifecycle.state
  }

  /**
   * Registers the handler of a message type. Call it before `start()`. A type has one handler per
   * app. If several things are to be done for one event, call several functions from one handler
   * (one transaction, retried together), or give each an app of its own (its own queue,
   * transactions and retries). Throws `MERSAL_DUPLICATE_HANDLER` or `MERSAL_INVALID_OPTIONS`.
   */
  handle<Body, Reply = unknown>(
    type: MessageType<'command' | 'event', Body, Reply>,
    handler: Handler<Given<Body>, Tx, Reply>,
    options: HandleOptions = {},
  ): void {
    this.#checkReceiving('handle()')
    this.#parts.handlers.add(type, handler, options)
  }

  /**
   * Registers a saga. Call it before `start()`. The function lists what the saga does: with which
   * messages it starts, which ones it takes, and its timeouts. Each message changes one instance in
   * its own transaction: the state, the inbox, the rows of the handler, what it sends and its
   * timeouts are committed together.
   *
   * Throws `MERSAL_DUPLICATE_HANDLER`, or `MERSAL_INVALID_OPTIONS` also if the store keeps no
   * sagas.
   */
  saga<State>(type: SagaType<State>, list: (on: SagaReactions<State, Tx>) => void): void {
    this.#checkReceiving('saga()')
    this.#parts.sagas.add(type, list)
  }

  #checkReceiving(call: string): void {
    if (this.#parts.settings.sendOnly)
      throw misuse(call, 'this app only sends: leave out sendOnly to give it an input queue')
    if (this.state !== 'idle')
      throw misuse(call, 'register every handler before start(), or messages would find none')
  }

  /**
   * `Sender.send` in the transaction that the current code runs in. Outside of any transaction it
   * throws `MERSAL_NO_TRANSACTION`. In an app without an outbox, a command that a handler sends
   * leaves when the handler has succeeded, and others leave directly.
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
  publish<Body>(type: EventType<Body>, body: Given<Body>, options?: EventOptions): Promise<string> {
    return this.#parts.senders.ambient.publish(type, body, options)
  }

  /**
   * `TransactionSender.cancel` in the transaction that the current code runs in. Outside of any
   * transaction it throws `MERSAL_NO_TRANSACTION`.
   */
  cancel(id: string): Promise<Cancellation> {
    return this.#parts.senders.ambient.cancel(id)
  }

  /**
   * Runs the work in one transaction. What it writes and what it sends is committed together, or
   * nothing is. Resolves to the result of the work after the commit.
   *
   * The transaction is always separate, also inside another one, unless `join` names the sender of
   * an open transaction. The work is then a part of that transaction. If the part fails, the whole
   * transaction fails, even if the failure is caught. An aborted signal fails it once the work has
   * ended.
   *
   * Rolls back and throws the error of the work, or the reason of the signal, or:
   * - `MERSAL_NOT_AWAITED`: a send was not awaited when the work ended.
   * - `MERSAL_ROLLED_BACK`: a send or a joined part failed, even if that was caught.
   * - `MERSAL_COMMIT_UNKNOWN`: the answer of the database was lost. It may have committed.
   * - `MERSAL_UNIT_ENDED`: the transaction to join has ended.
   * - `MERSAL_STORE_BUSY`: inside another transaction, it waited in vain for what that one holds.
   */
  transaction<Result>(
    work: (tx: Tx, sender: UnitSender) => Promise<Result>,
    options: TransactionOptions = {},
  ): Promise<Result> {
    return this.#parts.transactions.run(work, options)
  }

  /**
   * Runs the work of a request once, however often the request is repeated: its key, what the work
   * writes, what it sends and its response are committed in one transaction, or nothing is. A
   * repeat gets the stored response, and nothing runs. What throws stores nothing: a repeat runs.
   *
   * Rolls back and throws as `transaction()`, or:
   * - `MERSAL_ONCE_KEY`: the key or the scope cannot be stored.
   * - `MERSAL_ONCE_RUNNING`: the same request is still running elsewhere after `waitMs`.
   * - `MERSAL_ONCE_REUSED`: the key belongs to a request with another fingerprint.
   * - `MERSAL_INVALID_BODY`, `MERSAL_TOO_LARGE`: the response cannot be kept.
   *
   * After `MERSAL_COMMIT_UNKNOWN` repeat the call: it gets the response, or runs the work.
   */
  once<Response>(
    request: OnceRequest,
    work: (tx: Tx, sender: UnitSender) => Promise<Response>,
  ): Promise<OnceResult<Response>> {
    return this.#parts.once.run(request, work)
  }

  /**
   * Sends within a transaction that other code owns. `tx` is a handle of the kind that the store
   * understands. Each message is written at once, and exists if and only if that transaction
   * commits. A send throws `MERSAL_NOT_A_TRANSACTION` if the handle is no open transaction.
   */
  within(tx: Tx): TransactionSender {
    return this.#parts.senders.within(tx)
  }

  /**
   * Subscribes the input queue to the event, durably. Before `start()` the subscription is noted,
   * afterwards it is made at once. Throws `MERSAL_UNAVAILABLE` then if the broker is away.
   */
  subscribe(type: EventType<unknown>): Promise<void> {
    return this.#parts.subscriptions.change('subscribe()', type, true)
  }

  /** Ends the subscription, durably. If the event has a handler: for as long as this app lives. */
  unsubscribe(type: EventType<unknown>): Promise<void> {
    return this.#parts.subscriptions.change('unsubscribe()', type, false)
  }

  /**
   * Opens the database, declares the queue and its subscriptions, starts relay and consumers.
   *
   * A broker that cannot be reached is no failure: the app logs one warning, and receives as soon
   * as the broker is there. `start()` fails on errors that waiting cannot fix, such as a wrong
   * password or a queue with other properties. A start that fails closes everything again. When the
   * signal aborts, the app stops. Repeated calls share one start.
   */
  async start(options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    checkOptions('start()', options, ['signal'])
    checkSignal('start().signal', options.signal)
    // Called inside a unit, what runs for as long as the app does must not carry that unit along.
    const { attempts, lifecycle } = this.#parts
    return attempts.ambient.run(undefined, () => lifecycle.start(options.signal))
  }

  /**
   * Stops consuming, lets handlers, transactions and the relay finish, then closes transports and
   * store. After `graceMs` milliseconds (from 0 to an hour, default: the option `stopGraceMs`) the
   * rest is rolled back and left to a next start. Everything is closed in that case too, and the
   * call throws `MERSAL_STOP_TIMEOUT`. Repeated calls share one stop.
   *
   * `removeQueue: true` in the first call also removes the input queue with its subscriptions. Use
   * it for an app that does not come again and that runs in no other process. Throws
   * `MERSAL_QUEUE_KEPT` if messages or dead letters are in the queue; nothing is lost.
   */
  async stop(
    options: { readonly graceMs?: number; readonly removeQueue?: boolean } = {},
  ): Promise<void> {
    checkOptions('stop()', options, ['graceMs', 'removeQueue'])
    const removeQueue = checkBoolean('stop().removeQueue', options.removeQueue) ?? false
    const { settings, attempts, lifecycle } = this.#parts
    const bounds = { default: settings.stopGraceMs, min: 0, max: 3_600_000 }
    if (removeQueue) checkRemoval(settings)
    if (attempts.ambient.getStore() !== undefined)
      settings.logger.warn({ app: settings.name }, WAITS_FOR_ITSELF)
    const graceMs = checkNumber('stop().graceMs', options.graceMs, bounds)
    return lifecycle.stop({ graceMs, removeQueue })
  }

  /**
   * Sends a command at once, past the outbox, and resolves to what its handler answers with
   * `reply`. Not inside a transaction (`MERSAL_INVALID_OPTIONS`). Throws as `direct.send`, or:
   * - `MERSAL_NO_REPLY`: none came in time. The request may have been handled, or may still be.
   * - `MERSAL_REQUEST_FAILED`: the other side gave it up. `MERSAL_APP_STOPPED`: this one stopped.
   */
  request<Body, Reply>(
    type: CommandType<Body, Reply>,
    body: Given<Body>,
    options: RequestOptions = {},
  ): Promise<Reply> {
    return this.#parts.requests.request(type, body, options) as Promise<Reply>
  }

  /**
   * What became of a message, by the id that its send resolved to: `waiting`, `sending`, `dead`,
   * `handled` or `left` (see `MessageState`). With `waitMs` it waits for `handled` or `dead`.
   *
   * `handled` is known of consumers whose inbox is in the database of this app. Each look may read
   * the whole outbox. Throws `MERSAL_INVALID_MESSAGE` for what is no UUID, and
   * `MERSAL_INVALID_OPTIONS` without a store that can tell.
   */
  outcome(id: string, options: OutcomeOptions = {}): Promise<MessageState> {
    return this.#parts.outcome(id, options)
  }

  /** Says that there may be rows in the outbox. The relay looks soon. */
  wake(): void {
    this.#parts.relay.wake()
  }

  /**
   * Publishes until the outbox holds nothing that is due and can be delivered now, or a bound is
   * reached. Where no relay runs in this app, one runs for this call alone, also before `start()`.
   * Does not wait for rows that another relay has claimed, nor for rows behind them.
   *
   * Throws `MERSAL_INVALID_OPTIONS`, `MERSAL_APP_STOPPED`, the reason of the signal, what opening
   * the store throws, and `MERSAL_STORE_BUSY` inside an open transaction that it waits for.
   */
  drain(options: DrainOptions = {}): Promise<Drained> {
    return this.#parts.draining.drain(options)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  static {
    partsOf = (app) => (#parts in Object(app) ? app.#parts : undefined)
  }
}

/** The parts of an app, for `mersal/testing`. */
export function assemblyOf<Tx>(app: Mersal<Tx>): Assembly<Tx> {
  const parts = partsOf(app)
  if (parts === undefined) throw notAnApp()
  return parts
}

const WAITS_FOR_ITSELF =
  'stop() was called inside a handler or a transaction of this app and waits for it: do not await it there'
