export type {
  RedisClient,
  RedisConfirm,
  RedisOptions,
  RedisSentinels,
  RedisTls,
} from './transports/redis/options.ts'
export { redis, type RedisTransport } from './transports/redis/transport.ts'
export {
  type RedisCommands,
  redisDocuments,
  type RedisDocumentsOptions,
} from './stores/redis/documents.ts'
