import { isPresent } from '../../scripts/servers/present.ts'
import { redis8, redis8Problem } from '../../scripts/servers/redis-8.ts'
import { openPrivateRedis, type PrivateRedis, redisProblem } from '../../scripts/servers/redis.ts'

export { openPrivateRedis, type PrivateRedis } from '../../scripts/servers/redis.ts'

/** False, said loudly, when there is no Redis here; with CI=true that is a failure instead. */
export function redisIsHere(): boolean {
  return isPresent(redisProblem())
}

/** The same for Redis 8, which knows `WAITAOF`. */
export function redis8IsHere(): boolean {
  return isPresent(redisProblem() ?? redis8Problem())
}

/** A server of Redis 8 with `appendfsync everysec`. */
export function openPrivateRedis8(): Promise<PrivateRedis> {
  return openPrivateRedis({ fsync: 'everysec', command: redis8() })
}
