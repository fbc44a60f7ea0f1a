import { MersalError } from '../../core/errors/errors.ts'
import { invalidField, isQueueName, queueNameRule } from '../../core/messages/validation.ts'
import { checkOptions } from '../../core/options.ts'
import { suggest } from '../../lib/suggest.ts'
import {
  type Destination,
  headerNames,
  isReply,
  mainTransport,
  type MessageType,
} from '../../core/messages/message.ts'

export interface RouteEntry {
  readonly queue: string | undefined
  readonly transport: string | undefined
}

export interface RoutingFacts {
  /** Name of the input queue; undefined for an app that only sends. */
  readonly ownQueue: string | undefined
  readonly routes: ReadonlyMap<string, RouteEntry>
  readonly handles: (type: string) => boolean
  /** By name. */
  readonly transports: { has(name: string): boolean; keys(): Iterable<string> }
}

function noRoute(type: MessageType, text: string): MersalError {
  return new MersalError('MERSAL_NO_ROUTE', `'${type.name}' ${text}`, {
    details: { type: type.name },
  })
}

/** The owner of a command: its route, else this app if it handles it. Throws `MERSAL_NO_ROUTE`. */
export function ownerOf(facts: RoutingFacts, type: MessageType): Destination {
  if (isReply({ type: type.name })) throw noRoute(type, NOBODY_ASKED)
  const route = facts.routes.get(type.name)
  const queue = route?.queue ?? (facts.handles(type.name) ? facts.ownQueue : undefined)
  if (queue === undefined)
    throw noRoute(
      type,
      `has no owner: add routes: { '${type.name}': '<queue of the app that handles it>' }`,
    )
  return { transport: route?.transport ?? mainTransport, kind: 'queue', name: queue }
}

const NOBODY_ASKED = `has nobody to go to: the message that is handled was sent and not requested; look at message.headers['${headerNames.replyTo}'] first, or send it with app.request()`

/** The own input queue. Throws `MERSAL_NO_ROUTE` for an app that only sends. */
export function ownQueueOf(facts: RoutingFacts, type: MessageType): Destination {
  if (facts.ownQueue === undefined)
    throw noRoute(type, 'cannot be sent locally: this app only sends and has no input queue')
  return { transport: mainTransport, kind: 'queue', name: facts.ownQueue }
}

/** The topic of an event. Throws `MERSAL_NO_ROUTE` if its route names a queue. */
export function topicOf(facts: RoutingFacts, type: MessageType): Destination {
  const route = facts.routes.get(type.name)
  if (route?.queue !== undefined)
    throw noRoute(
      type,
      'is an event and goes to its topic: its route may name a transport, but no queue',
    )
  return { transport: route?.transport ?? mainTransport, kind: 'topic', name: type.name }
}

/**
 * The queue that the sender has named. Throws `MERSAL_INVALID_MESSAGE` for what no queue can be
 * called, and for a transport that this app has not got.
 */
export function addressed(facts: RoutingFacts, type: MessageType, given: unknown): Destination {
  const { queue, transport } = parts(given)
  if (!isQueueName(queue))
    throw invalidField(typeof given === 'string' ? 'to' : 'to.queue', `expected ${queueNameRule}`)
  const named = transport ?? facts.routes.get(type.name)?.transport ?? mainTransport
  return { transport: known(facts, named), kind: 'queue', name: queue }
}

/**
 * The topic of an event on the transport that the sender has named. Throws
 * `MERSAL_INVALID_MESSAGE` for a queue, and for a transport that this app has not got.
 */
export function topicOn(facts: RoutingFacts, type: MessageType, given: unknown): Destination {
  if (typeof given !== 'object' || given === null || Array.isArray(given) || 'queue' in given)
    throw invalidField(
      'to',
      'an event goes to its subscribers, so expected { transport } alone; or send a command',
    )
  checkOptions('to', given, ['transport'])
  const { transport } = given as { readonly transport?: unknown }
  return { transport: known(facts, transport), kind: 'topic', name: type.name }
}

function known({ transports }: RoutingFacts, named: unknown): string {
  if (typeof named === 'string' && transports.has(named)) return named
  const names = [...transports.keys()]
  const near = typeof named === 'string' ? suggest(named, names) : undefined
  const remedy =
    near === undefined
      ? `it has ${names.map((name) => `'${name}'`).join(', ')}`
      : `did you mean '${near}'?`
  throw invalidField('to.transport', `this app has no such transport; ${remedy}`)
}

function parts(given: unknown): { readonly queue: unknown; readonly transport?: unknown } {
  if (typeof given === 'string') return { queue: given }
  if (typeof given !== 'object' || given === null || Array.isArray(given))
    throw invalidField('to', 'expected the name of a queue, or { queue, transport }')
  checkOptions('to', given, ['queue', 'transport'])
  return given as { readonly queue: unknown }
}
