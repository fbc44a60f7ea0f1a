import type { StandardSchema } from './schema.ts'

/**
 * The definition of a command or an event: its stable name and, if given, the schema of its body.
 * The name is what travels and what is stored, so a class may be renamed without breaking rows.
 */
export interface MessageType<
  Kind extends 'command' | 'event' = 'command' | 'event',
  Body = unknown,
  Reply = unknown,
> {
  readonly kind: Kind
  readonly name: string
  readonly schema?: StandardSchema<unknown, Body>
  /** Version of the bodies that are sent. Version 1 if it is missing. */
  readonly version?: number
  /** Under each earlier version: what makes the next one of its body. */
  readonly upcast?: Readonly<Record<number, (body: never) => unknown>>
  /** Which serializer writes the bodies. Missing: the first one of the app. */
  readonly contentType?: string
  /** Only for the compiler: the type of the body. Never set. */
  readonly _body?: Body
  /** Only for the compiler: the type of the reply. Never set. */
  readonly _reply?: Reply
}

/** A command has one owner: it is sent to that owner's queue. */
export type CommandType<Body, Reply = unknown> = MessageType<'command', Body, Reply>
/** An event has subscribers: it is published to the topic that carries its name. */
export type EventType<Body> = MessageType<'event', Body>

/**
 * What travels. Header names are lower case; values are text. The body is never opened on the way.
 */
export interface Envelope {
  /** UUID, version 7, fixed when the message is captured. */
  readonly id: string
  /** Name of the message type. */
  readonly type: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array
}

/** Where a message goes: one queue, or a topic and through it every subscribed queue. */
export interface Destination {
  /** Name of the transport, as given in the options of the app. */
  readonly transport: string
  readonly kind: 'queue' | 'topic'
  readonly name: string
}

export interface OutgoingMessage extends Envelope {
  readonly to: Destination
  /** Messages with the same key leave in the order of their commits. */
  readonly partitionKey?: string
  /**
   * Not before this many milliseconds after it was saved, nor before its commit. A delayed message
   * holds up later ones of its key.
   */
  readonly delayMs?: number
}

/** The name in destinations of the transport that an app or a relay has by default. */
export const mainTransport = 'default'

/** The types of the messages that answer a request. */
export const replyTypes = { reply: 'mersal.reply', failed: 'mersal.request-failed' } as const

/** Whether this answers a request. If its queue is gone, so is whoever has asked. */
export function isReply({ type }: Pick<Envelope, 'type'>): boolean {
  return type === replyTypes.reply || type === replyTypes.failed
}

/** One text per destination, for breakers, pauses and metrics: `transport/kind/name`. */
export function destinationKey(destination: Destination): string {
  return `${destination.transport}/${destination.kind}/${destination.name}`
}

/** The header that names the tenant of a message. Apps without a tenant may set it. */
export const tenantHeader = 'tenant'

/**
 * Names of the headers that Mersal sets itself. A sender may not set those in `reservedHeaders`.
 */
export const headerNames = {
  correlationId: 'correlation-id',
  causationId: 'causation-id',
  sentAt: 'sent-at',
  contentType: 'content-type',
  traceparent: 'traceparent',
  tracestate: 'tracestate',
  baggage: 'baggage',
  partitionKey: 'partition-key',
  sender: 'sender',
  version: 'message-version',
  encoding: 'body-encoding',
  expiresAt: 'expires-at',
  replyTo: 'reply-to',
} as const
