import { isPresent } from '../../scripts/servers/present.ts'
import { redisProblem } from '../../scripts/servers/redis.ts'

export { openPrivateRedis, type PrivateRedis } from '../../scripts/servers/redis.ts'

/** False, said loudly, when there is no Redis here; with CI=true that is a failure instead. */
export function redisIsHere(): boolean {
  return isPresent(redisProblem())
}
