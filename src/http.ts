export type { ExpressRequest, ExpressResponse, ExpressRoute } from './http/express.ts'
export type { FastifyReplyPart, FastifyRequestPart, FastifyRoute } from './http/fastify.ts'
export type { FetchRoute, HonoContext, HonoRoute } from './http/fetch.ts'
export {
  idempotency,
  type Idempotency,
  type IdempotencyOptions,
  type OnceApp,
} from './http/idempotency.ts'
export type { RouteOptions } from './http/route.ts'
export {
  type MonitoredApp,
  monitoring,
  type Monitoring,
  type MonitorRoute,
  type NodeRequest,
  type NodeResponse,
} from './http/monitoring.ts'
