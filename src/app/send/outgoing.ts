import { isUint8Array } from 'node:util/types'
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
  checkPartitionKey,
  invalidField,
  LONGEST_DELAY_MS,
} from '../../core/messages/validation.ts'
import type { Clock } from '../../lib/async/clock.ts'
import { byteLength } from '../../lib/text.ts'
import { uuidv7 } from '../../lib/uuid.ts'
import { encodeBody, isPromise, validateBody } from './body.ts'
import { compose } from '../compose.ts'
import type { Serializers } from '../contracts/serializers.ts'
import { outgoingHeaders, travelling } from './headers.ts'
import { checkRoundTrip } from './round-trip.ts'

/** `first`: the first body of each type. */
export type CheckBodies = 'always' | 'first' | 'never'

export interface OutgoingPorts {
  readonly app: string
  readonly clock: Clock
  readonly serializers: Serializers
  /** Names of headers that are carried on from the message that is being handled. */
  readonly inherit: readonly string[]
  /** Steps of the user: after the headers are set, before the body is validated and encoded. */
  readonly steps: readonly OutgoingStep[]
  /** Which bodies are opened again before they are sent, as a consumer would do. */
  readonly checkBodies: CheckBodies
  /** `maxMessageBytes` of the transport with this name. */
  readonly limitOf: (transport: string) => number
}

export interface OutgoingRequest {
  readonly type: MessageType
  readonly body: unknown
  readonly to: Destination
  readonly partitionKey?: string | undefined
  readonly delayMs?: number | undefined
  readonly at?: Date | undefined
  readonly id?: string | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly cause: Envelope | undefined
  readonly transaction: TransactionContext<unknown> | undefined
}

/**
 * Makes the message that is stored or sent: id, headers, steps of the user, validation, encoding,
 * size check. Unless a step or a schema waits, the body is encoded in the same tick, so that a
 * later change of the object does not reach the message. Returns a promise only if there are steps
 * or if a schema waits.
 */
export function outgoingPipeline(
  ports: OutgoingPorts,
): (request: OutgoingRequest) => OutgoingMessage | Promise<OutgoingMessage> {
  const checked = new WeakSet<MessageType>()
  const checks = (type: MessageType): boolean =>
    ports.checkBodies === 'always' || (ports.checkBodies === 'first' && !checked.has(type))
  const end = (context: OutgoingContext): OutgoingMessage | Promise<OutgoingMessage> =>
    finish(ports, context, checks(context.type) ? () => void checked.add(context.type) : undefined)
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
  const id = request.id === undefined ? uuidv7(now) : checkedId(request.id)
  const { contentType } = ports.serializers.of(request.type)
  const facts = { app: ports.app, id, now, contentType, version: request.type.version }
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
      partitionKey: request.partitionKey,
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
  const until = at instanceof Date ? at.getTime() - now : Number.NaN
  if (until <= LONGEST_DELAY_MS) return Math.max(0, until)
  throw invalidField('at', 'expected a Date of at most a year from now')
}

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

function checkedId(id: unknown): string {
  if (typeof id === 'string' && UUID.test(id)) return id.toLowerCase()
  throw invalidField('id', 'expected a UUID, such as crypto.randomUUID() makes')
}

/** With `onSound`, opens the body again, and calls it if the body arrives as it was sent. */
function finish(
  ports: OutgoingPorts,
  context: OutgoingContext,
  onSound?: () => void,
): OutgoingMessage | Promise<OutgoingMessage> {
  const encoded = (valid: unknown): OutgoingMessage | Promise<OutgoingMessage> => {
    const message = encode(ports, context, valid)
    if (onSound === undefined) return message
    const sound = (): OutgoingMessage => {
      onSound()
      return message
    }
    const checking = checkRoundTrip(
      ports.serializers.of(context.type),
      context.type,
      valid,
      message.body,
    )
    return isPromise(checking) ? checking.then(sound) : sound()
  }
  const checked = validateBody(context.type, context.body)
  return isPromise(checked) ? Promise.resolve(checked).then(encoded) : encoded(checked)
}

function encode(ports: OutgoingPorts, context: OutgoingContext, valid: unknown): OutgoingMessage {
  const { id, type, to, partitionKey, delayMs } = context
  // Only a step of the user can have put in what was not checked before.
  const headers =
    ports.steps.length === 0 ? withPrototype(context.headers) : travelling(context.headers)
  const body = encodeBody(ports.serializers.of(type), type, valid)
  checkSize(ports.limitOf(to.transport), type, headers, body)
  return {
    id,
    type: type.name,
    headers,
    body,
    to,
    ...(partitionKey === undefined ? {} : { partitionKey }),
    ...(delayMs === undefined ? {} : { delayMs }),
  }
}

function withPrototype(headers: Record<string, string>): Record<string, string> {
  return Object.getPrototypeOf(headers) === null ? { ...headers } : headers
}

function checkSize(
  limit: number,
  type: MessageType,
  headers: Readonly<Record<string, string>>,
  body: Uint8Array,
): void {
  if (mostBytes(headers, body) <= limit) return
  let size = body.byteLength
  for (const [name, value] of Object.entries(headers)) size += byteLength(name) + byteLength(value)
  if (size <= limit) return
  throw new MersalError(
    'MERSAL_TOO_LARGE',
    `'${type.name}' has ${size} bytes (body and headers), the transport takes at most ${limit}: put the content elsewhere and send where it is`,
    { details: { type: type.name, size, limit } },
  )
}

/** At least the size, without a look at every character. */
function mostBytes(headers: Readonly<Record<string, string>>, body: Uint8Array): number {
  let most = body.byteLength
  for (const name in headers) most += 3 * (name.length + (headers[name] as string).length)
  return most
}
