import { isDate, isUint8Array } from 'node:util/types'
import { MersalError } from '../../core/errors/errors.ts'
import type {
  Destination,
  Envelope,
  MessageType,
  OutgoingMessage,
} from '../../core/messages/message.ts'
import type { OutgoingContext, OutgoingStep } from '../../core/pipeline.ts'
import type { TransactionContext } from '../../core/transaction.ts'
import {
  checkDelay,
  checkExpiry,
  checkPartitionKey,
  invalidField,
  LONGEST_DELAY_MS,
} from '../../core/messages/validation.ts'
import type { Clock } from '../../lib/async/clock.ts'
import { uuidv7 } from '../../lib/uuid.ts'
import { type Operations, shown, traced } from '../../core/traced.ts'
import { encodeBody, isPromise, validateBody } from './body.ts'
import { compose } from '../compose.ts'
import type { Serializers } from '../contracts/serializers.ts'
import { outgoingHeaders } from './headers.ts'
import { type PackingPorts, pack } from './packing.ts'
import { checkRoundTrip } from './round-trip.ts'

/** `first`: the first body of each type. */
export type CheckBodies = 'always' | 'first' | 'never'

export interface OutgoingPorts extends Omit<PackingPorts, 'stepped'> {
  readonly app: string
  readonly clock: Clock
  /** What the transport with this name in the app calls itself. */
  readonly systemOf: (transport: string) => string
  readonly serializers: Serializers
  /** Names of headers that are carried on from the message that is being handled. */
  readonly inherit: readonly string[]
  /** Steps of the user: after the headers are set, before the body is validated and encoded. */
  readonly steps: readonly OutgoingStep[]
  /** Which bodies are opened again before they are sent, as a consumer would do. */
  readonly checkBodies: CheckBodies
}

export interface OutgoingRequest {
  readonly type: MessageType
  readonly body: unknown
  readonly to: Destination
  readonly partitionKey?: string | undefined
  readonly delayMs?: number | undefined
  readonly at?: Date | undefined
  readonly expiresInMs?: number | undefined
  readonly id?: string | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** Headers of whoever listens to sends. */
  readonly carrier?: Readonly<Record<string, string>>
  /** The queue that the reply is to go to. */
  readonly replyTo?: string | undefined
  readonly cause: Envelope | undefined
  readonly transaction: TransactionContext<unknown> | undefined
}

type Made = OutgoingMessage | Promise<OutgoingMessage>

/**
 * Makes the message that is stored or sent: id, headers, steps of the user, validation, encoding,
 * codecs, size check. Unless a step or a schema waits, the body is encoded in the same tick, so
 * that a later change of the object does not reach the message. Returns a promise only if there are
 * steps or if a schema or a codec waits.
 */
export function outgoingPipeline(ports: OutgoingPorts): (request: OutgoingRequest) => Made {
  const make = maker(ports)
  return (request) => {
    // Of its own: what a listener puts in the place of the headers is none.
    let carrier: Operations['send']['headers'] | undefined
    return traced(
      'send',
      () => {
        const facts = factsOf(ports, request)
        carrier = facts.headers
        return facts
      },
      () => make(carrier === undefined ? request : { ...request, carrier }),
      (facts, message) => (facts.message = shown(message)),
    )
  }
}

function factsOf(
  { app, systemOf }: Pick<OutgoingPorts, 'app' | 'systemOf'>,
  { type, to, cause, transaction }: OutgoingRequest,
): Operations['send'] {
  const system = systemOf(to.transport)
  const transactional = transaction !== undefined
  return {
    app,
    system,
    type: type.name,
    to: { ...to },
    transactional,
    cause: cause && shown(cause),
    headers: {},
  }
}

function maker(ports: OutgoingPorts): (request: OutgoingRequest) => Made {
  const checked = new WeakSet<MessageType>()
  const checks = (type: MessageType): boolean =>
    ports.checkBodies === 'always' || (ports.checkBodies === 'first' && !checked.has(type))
  const packing = { ...ports, stepped: ports.steps.length > 0 }
  const end = (context: OutgoingContext): Made =>
    finish(
      packing,
      context,
      checks(context.type) ? () => void checked.add(context.type) : undefined,
    )
  if (ports.steps.length === 0) return (request) => end(begin(ports, request))
  const run = compose(ports.steps, async (context) => end(context))
  return async (request) => {
    const context = begin(ports, request)
    const message = await run(context)
    if (message?.id === context.id && isUint8Array(message.body)) return message
    throw new MersalError(
      'MERSAL_INVALID_MESSAGE',
      'an outgoing step must return the message that next() gave it, with the same id',
    )
  }
}

function begin(ports: OutgoingPorts, request: OutgoingRequest): OutgoingContext {
  if (request.partitionKey !== undefined) checkPartitionKey(request.partitionKey)
  const now = ports.clock.now()
  const delayMs = delayOf(request, now)
  const { expiresInMs } = request
  if (expiresInMs !== undefined) checkExpiry(expiresInMs, delayMs ?? 0)
  const id = request.id === undefined ? uuidv7(now) : checkedId(request.id)
  const { contentType } = ports.serializers.of(request.type)
  const { app, tenant } = ports
  const facts = { app, tenant, id, now, contentType, version: request.type.version }
  const given = request.headers ?? (ports.steps.length === 0 ? undefined : {})
  return {
    type: request.type,
    id,
    to: request.to,
    partitionKey: request.partitionKey,
    delayMs: delayMs === 0 ? undefined : delayMs,
    body: request.body,
    headers: outgoingHeaders(given, {
      ...facts,
      inherit: ports.inherit,
      carrier: request.carrier,
      partitionKey: request.partitionKey,
      expiresInMs,
      replyTo: request.replyTo,
      cause: request.cause,
    }),
    transaction: request.transaction,
  }
}

function delayOf(
  { delayMs, at }: Pick<OutgoingRequest, 'delayMs' | 'at'>,
  now: number,
): number | undefined {
  if (at === undefined) {
    if (delayMs !== undefined) checkDelay(delayMs)
    return delayMs
  }
  if (delayMs !== undefined) throw invalidField('at', 'give either at or delayMs')
  const until = isDate(at) ? at.getTime() - now : Number.NaN
  if (until <= LONGEST_DELAY_MS) return Math.max(0, until)
  throw invalidField('at', 'expected a Date of at most a year from now')
}

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

/** The id in lower case. Throws `MERSAL_INVALID_MESSAGE` for what is no UUID. */
export function checkedId(id: unknown): string {
  if (typeof id === 'string' && UUID.test(id)) return id.toLowerCase()
  throw invalidField('id', 'expected a UUID, such as crypto.randomUUID() makes')
}

/** With `onSound`, opens the body again, and calls it if the body arrives as it was sent. */
function finish(
  ports: OutgoingPorts & PackingPorts,
  context: OutgoingContext,
  onSound?: () => void,
): Made {
  const { type } = context
  const serializer = ports.serializers.of(type)
  const encoded = (valid: unknown): Made => {
    const bytes = encodeBody(serializer, type, valid)
    if (onSound === undefined) return pack(ports, context, bytes)
    const sound = (): Made => {
      onSound()
      return pack(ports, context, bytes)
    }
    const checking = checkRoundTrip(serializer, type, valid, bytes)
    return isPromise(checking) ? checking.then(sound) : sound()
  }
  const checked = validateBody(context.type, context.body)
  return isPromise(checked) ? Promise.resolve(checked).then(encoded) : encoded(checked)
}
