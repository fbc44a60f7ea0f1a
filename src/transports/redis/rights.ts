import type { createClient } from '@redis/client'

/** Each command that scripts and consumers use, with arguments that Redis takes. */
export const needed: readonly (readonly string[])[] = [
  ['XADD', 'queues', '*', 'f', 'v'],
  ['XDEL', 'queues', '0-0'],
  ['XLEN', 'queues'],
  ['XRANGE', 'queues', '-', '+'],
  ['XGROUP', 'CREATE', 'queues', 'g', '0'],
  ['XREADGROUP', 'GROUP', 'g', 'c', 'STREAMS', 'queues', '>'],
  ['ZADD', 'queues', '0', 'm'],
  ['ZREM', 'queues', 'm'],
  ['ZRANGE', 'queues', '0', '0'],
  ['ZRANGEBYSCORE', 'queues', '0', '0'],
  ['HGET', 'queues', 'f'],
  ['HSET', 'queues', 'f', 'v'],
  ['HDEL', 'queues', 'f'],
  ['SADD', 'queues', 'm'],
  ['SREM', 'queues', 'm'],
  ['SMEMBERS', 'queues'],
  ['SISMEMBER', 'queues', 'm'],
  ['DEL', 'queues'],
  ['TIME'],
  ['PUBLISH', 'bell:', ''],
  ['SUBSCRIBE', 'bell:'],
  ['UNSUBSCRIBE', 'bell:'],
  ['PUBSUB', 'NUMSUB', 'bell:'],
]

/** Asks, and runs none of them. What a server does not know counts as allowed. */
const ASK = `#!lua flags=no-writes
local missing = {}
for _, command in ipairs(cjson.decode(ARGV[1])) do
  for i = 2, #command do
    if command[i] == 'queues' or command[i] == 'bell:' then command[i] = KEYS[1] .. command[i] end
  end
  local known, allowed = pcall(redis.acl_check_cmd, unpack(command))
  if known and not allowed then missing[#missing + 1] = command[1] end
end
return missing`

/** Names of the commands that the user may not run on keys and channels of this prefix. */
export async function missingRights(
  client: Pick<ReturnType<typeof createClient>, 'sendCommand'>,
  prefix: string,
): Promise<string[]> {
  const asked = ['EVAL', ASK, '1', prefix, JSON.stringify(needed)]
  const missing = await client.sendCommand<readonly unknown[]>(asked)
  return missing.map((name) => String(name).toLowerCase())
}
