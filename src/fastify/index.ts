export { mersal } from './plugin.ts'
export type {
  FastifyApp,
  FastifyDashboard,
  FastifyIdempotency,
  FastifyOptions,
  HealthPaths,
  MersalOfServer,
  OnceOfReply,
} from './options.ts'
export type {
  FastifyLike,
  FastifyReplyLike,
  FastifyRequestLike,
  FastifyRouteLike,
} from './structure.ts'
