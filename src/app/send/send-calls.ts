import { type ErrorCode, MersalError } from '../../core/errors/errors.ts'
import {
  type Destination,
  type Envelope,
  type MessageType,
  type OutgoingMessage,
  destinationKey,
} from '../../core/messages/message.ts'
import { invalidField } from '../../core/messages/validation.ts'
import { checkOptions } from '../../core/options.ts'
import type { SavedMessage } from '../../core/outbox.ts'
import { emit, type Logger } from '../../core/telemetry.ts'
import type { TransactionContext } from '../../core/transaction.ts'
import type { PublishOutcome, Transport } from '../../core/transport.ts'
import { publishTraced, traced } from '../../core/traced.ts'
import { errorText } from '../../core/errors/error-text.ts'
import { Mutex } from '../../lib/async/mutex.ts'
import { observe } from '../../lib/async/observed.ts'
import { printable } from '../../lib/text.ts'
import { isPromise } from './body.ts'
import type { OutgoingRequest } from './outgoing.ts'
import { checkMessageType } from './messages.ts'
import { type RoutingFacts, addressed, ownQueueOf, ownerOf, topicOf, topicOn } from './routing.ts'
import type { SendCall, Verb } from './sender.ts'
import type { EventOptions, SendOptions } from '../types.ts'
import type { AppStorage } from '../unit/queue-beside-outbox.ts'
import type { Unit } from '../unit/unit.ts'

export interface SendPorts<Tx> {
  readonly app: string
  readonly logger: Logger
  readonly transports: ReadonlyMap<string, Transport>
  readonly storage: AppStorage<Tx> | undefined
  readonly routing: RoutingFacts
  readonly outgoing: (request: OutgoingRequest) => OutgoingMessage | Promise<OutgoingMessage>
  /** Called when rows were written in a transaction whose commit we cannot see. */
  readonly onForeignRows: (
    messages: readonly OutgoingMessage[],
    saved: readonly SavedMessage[],
  ) => void
  /** Called when a delayed message was taken back for good. */
  readonly onCancelled: () => void
}

interface Origin {
  readonly cause: Envelope | undefined
  readonly transaction: TransactionContext<unknown> | undefined
  readonly direct: boolean
  /** The queue that the reply is to go to. */
  readonly replyTo?: string
}

export const noTransaction: SendCall = (verb, type) => {
  const remedies =
    'send with the sender of app.transaction() or the context of a handler, or app.within(tx) for a transaction of your own, or app.direct to go past the outbox'
  return Promise.reject(
    new MersalError(
      'MERSAL_NO_TRANSACTION',
      `${callName(verb, type)} outside of any transaction: ${remedies}`,
    ),
  )
}

const callNames = new WeakMap<MessageType, Partial<Record<Verb, string>>>()

/**
 * The name of a call in errors: `publish('students.registered')`. Names are kept by type, since
 * every call needs one in case it fails.
 */
export function callName(verb: Verb, type: MessageType): string {
  if (typeof type !== 'object' || type === null) return newCallName(verb, type)
  let names = callNames.get(type)
  if (names === undefined) callNames.set(type, (names = {}))
  return (names[verb] ??= newCallName(verb, type))
}

function newCallName(verb: Verb, type: MessageType): string {
  const name: unknown = (type as Partial<MessageType> | null | undefined)?.name
  return `${verb}(${typeof name === 'string' ? `'${printable(name)}'` : ''})`
}

const destinations: Readonly<
  Record<Verb, (facts: RoutingFacts, type: MessageType) => Destination>
> = {
  send: ownerOf,
  sendLocal: ownQueueOf,
  publish: topicOf,
}

/** Where a message goes. Throws as a send does. */
export function destinationOf(
  routing: RoutingFacts,
  verb: Verb,
  type: MessageType,
  to: (SendOptions | EventOptions)['to'],
): Destination {
  if (to === undefined) return destinations[verb](routing, type)
  return verb === 'publish' ? topicOn(routing, type, to) : addressed(routing, type, to)
}

/** Makes the message in this very tick, unless a step or a schema waits. */
function make<Tx>(
  ports: SendPorts<Tx>,
  origin: Origin,
  call: Parameters<SendCall>,
): OutgoingMessage | Promise<OutgoingMessage> {
  checkCall(call)
  const [verb, type, body, options = {}] = call
  const to = destinationOf(ports.routing, verb, type, options.to)
  const { partitionKey, delayMs, at, expiresInMs, id, headers } = options
  const { direct, ...from } = origin
  const about = { type, body, to, partitionKey, delayMs, at, expiresInMs, id, headers, ...from }
  const made = ports.outgoing(about)
  const announce = (message: OutgoingMessage): OutgoingMessage => {
    const { app } = ports
    const { id } = message
    emit('mersal:send', () => ({ app, id, type: type.name, to: destinationKey(to), direct }))
    return message
  }
  return isPromise(made) ? made.then(announce) : announce(made)
}

const knownOptions = [
  'to',
  'partitionKey',
  'delayMs',
  'at',
  'expiresInMs',
  'id',
  'headers',
] satisfies (keyof SendOptions)[]

/** Throws `MERSAL_INVALID_MESSAGE` or `MERSAL_INVALID_OPTIONS`, which name the field. */
export function checkCall([verb, type, , options = {}]: Parameters<SendCall>): void {
  checkMessageType(`${verb}()`, type, verb === 'publish' ? 'event' : 'command')
  checkOptions(callName(verb, type), options, knownOptions)
  const { headers, to } = options
  if (to !== undefined && verb === 'sendLocal')
    throw invalidField('to', 'sendLocal() goes to the queue of this app; use send()')
  if (headers !== undefined) checkOptions('headers', headers, Object.keys(headers ?? {}))
}

/**
 * Sends into a unit that Mersal runs. The message is kept in memory until the unit flushes. Without
 * an outbox it is kept until the handler has succeeded.
 */
export function unitCall<Tx>(ports: SendPorts<Tx>, unit: Unit<Tx>): SendCall {
  const direct = ports.storage === undefined
  const origin = { cause: unit.cause, transaction: direct ? undefined : unit, direct }
  return (...call) =>
    unit.add(callName(call[0], call[1]), () =>
      direct ? makeUndelayed(ports, origin, call) : make(ports, origin, call),
    )
}

async function makeUndelayed<Tx>(
  ports: SendPorts<Tx>,
  origin: Origin,
  call: Parameters<SendCall>,
): Promise<OutgoingMessage> {
  const message = await make(ports, origin, call)
  if (message.delayMs === undefined) return message
  throw new MersalError(
    'MERSAL_INVALID_MESSAGE',
    'delayMs, at: only the outbox can delay a message; send it within a transaction',
  )
}

/**
 * Sends into a transaction that other code owns. The message is written at once, since we do not
 * see the end of that transaction. A call that fails and that nobody awaits is logged. An unhandled
 * rejection would end the process, although the transaction may just have been rolled back.
 */
export function foreignCall<Tx>(
  ports: SendPorts<Tx>,
  storage: AppStorage<Tx>,
  tx: Tx,
  cause: Envelope | undefined,
): SendCall {
  const origin = { cause, transaction: { tx, cause }, direct: false }
  const saveWithin = storage.saveWithin?.bind(storage) ?? inTurn(storage)
  const save = async (call: Parameters<SendCall>): Promise<string> => {
    const made = make(ports, origin, call)
    const messages = isPromise(made) ? made.then((message) => [message]) : [made]
    if (isPromise(messages)) messages.catch(() => {}) // looked at below, after the calls before this one
    const saved = await traced(
      'save',
      () => ({ app: ports.app, messages: 1, into: 'foreign' }),
      () => saveWithin(tx, messages),
    )
    const [message] = await messages
    ports.onForeignRows([message as OutgoingMessage], saved)
    return (message as OutgoingMessage).id
  }
  return (...call) => watched(ports, callName(call[0], call[1]), save(call))
}

/** A call in a transaction that other code owns. If it fails and nobody awaits it, it is logged. */
export function watched<Result>(
  { app, logger }: Pick<SendPorts<never>, 'app' | 'logger'>,
  call: string,
  doing: Promise<Result>,
): Promise<Result> {
  const promise = observe(doing)
  const onFailure = (error: unknown): void => {
    if (promise.observed) return
    promise.quieten()
    logger.error({ app, call, code: 'MERSAL_NOT_AWAITED', error: errorText(error) }, FORGOTTEN)
  }
  doing.catch(onFailure)
  return promise
}

const FORGOTTEN =
  'a call of within() failed, and nobody awaited it: if its transaction was committed, what it was to do was not done. Await every call before the transaction ends'

const turns = new WeakMap<object, Mutex>()

/**
 * For a storage without `saveWithin`: saves one after another, so that rows are written in the
 * order of the calls.
 */
function inTurn<Tx>(storage: AppStorage<Tx>): NonNullable<AppStorage<Tx>['saveWithin']> {
  return async (tx, messages) => {
    const turn = turns.get(tx as object) ?? new Mutex()
    if (typeof tx === 'object' || typeof tx === 'function') turns.set(tx as object, turn)
    return turn.run(async () => storage.save(tx, await messages))
  }
}

/** Sends to the broker at once, past any outbox. Resolves when the broker holds the message. */
export function directCall<Tx>(
  ports: SendPorts<Tx>,
  cause: Envelope | undefined,
  replyTo?: string,
): SendCall {
  const asked = replyTo === undefined ? {} : { replyTo }
  const origin = { cause, transaction: undefined, direct: true, ...asked }
  return async (...call) => {
    const message = await makeUndelayed(ports, origin, call)
    const transport = ports.transports.get(message.to.transport) as Transport
    const [answer] = publishTraced({ app: ports.app, by: 'app' }, transport, [message])
    if (answer === undefined)
      throw new MersalError('MERSAL_UNKNOWN_OUTCOME', 'the transport gave no answer')
    throwUnlessConfirmed(message, await answer)
    return message.id
  }
}

/** Throws the error for the answer of the broker, unless the broker holds the message. */
export function throwUnlessConfirmed(message: OutgoingMessage, outcome: PublishOutcome): void {
  const to = destinationKey(message.to)
  const what = `'${message.type}' to ${to}`
  const failure = (code: ErrorCode, text: string, { error }: { readonly error: Error }) =>
    new MersalError(code, `${text}: ${error.message}`, {
      cause: error,
      details: { id: message.id, to },
    })
  switch (outcome.kind) {
    case 'confirmed':
      return
    case 'refused':
      throw failure(refusals[outcome.reason], `the broker refused ${what}`, outcome)
    case 'unavailable':
      throw failure('MERSAL_UNAVAILABLE', `${what} was not sent`, outcome)
    case 'unknown':
      throw failure('MERSAL_UNKNOWN_OUTCOME', `${what} may or may not have been sent`, outcome)
    default:
      return outcome satisfies never
  }
}

const refusals = {
  unroutable: 'MERSAL_UNROUTABLE',
  'too-large': 'MERSAL_TOO_LARGE',
  refused: 'MERSAL_REFUSED',
} as const satisfies Record<Extract<PublishOutcome, { kind: 'refused' }>['reason'], ErrorCode>
