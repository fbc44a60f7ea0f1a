/** The parts of Fastify 5 that are used: it is seen as types, and never loaded. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { FastifyReplyPart, FastifyRequestPart } from '../http/fastify.ts'

/** A request, with the one of Node beneath it. */
export interface FastifyRequestLike extends FastifyRequestPart {
  readonly raw: IncomingMessage
}

/** A reply, with the one of Node beneath it. */
export interface FastifyReplyLike extends FastifyReplyPart {
  readonly request: FastifyRequestLike
  readonly raw: ServerResponse
  hijack(): unknown
}

/** One route. */
export interface FastifyRouteLike {
  readonly method: string | string[]
  readonly url: string
  readonly logLevel?: 'warn'
  readonly handler: (request: FastifyRequestLike, reply: FastifyReplyLike) => Promise<unknown>
}

/** The server, or the part of it that a plugin gets. */
export interface FastifyLike {
  readonly log: { error(fields: object, text: string): void }
  decorate(name: string, value: unknown): unknown
  decorateReply(name: string, value: unknown): unknown
  addHook(name: 'onReady' | 'preClose' | 'onClose', hook: () => Promise<void>): unknown
  route(route: FastifyRouteLike): unknown
}
