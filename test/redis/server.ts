import { redisProblem } from '../../scripts/servers/redis.ts'

export { openPrivateRedis, type PrivateRedis } from '../../scripts/servers/redis.ts'

/** False, said loudly, when there is no Redis here; with CI=true that is a failure instead. */
export function redisIsHere(): boolean {
  const problem = redisProblem()
  if (problem === undefined) return true
  if (process.env['CI'] === 'true') throw new Error(problem)
  process.stderr.write(`\nSKIPPED: ${problem}\n`)
  return false
}
