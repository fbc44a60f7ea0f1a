import type { Script } from '../../lib/redis-script.ts'

/**
 * What happens to messages, each step as one script, by the clock of the server. `p` begins every
 * key. Keys of a queue: a stream with its messages, a sorted set `due` with the time from which
 * each message that was handed out may be handed out again (the end of a hold, a retry and a delay
 * alike), a hash `state` with attempts and the token of the holder. A queue that is read in order
 * has a hash `keys`: for each partition key the message that is handled or tried again, and the last
 * one that waits behind it. Those that wait are a chain through `state`, and due at no time.
 *
 * Redis takes nothing back when a script fails in its middle. So a script first tries the kinds of
 * its keys and its rights, by commands that change nothing: no member and no field is called ''.
 */

export const script = (flags: string, body: string): Script => ({
  text: `#!lua${flags}\nlocal p, a = KEYS[1], ARGV\n${body}`,
})

/** What makes room, or moves what is there, works also while the memory is full. */
export const FREES: string = ' flags=allow-oom'

export const NOW: string = `
local function now()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end`

/** What somebody else wrote into `state` counts as nothing. */
export const STATE: string = `
local function decoded(text)
  local fine, state = pcall(cjson.decode, text or '{}')
  if not fine or type(state) ~= 'table' then state = {} end
  state.a = tonumber(state.a) or 0
  return state
end`

/** The text of an error that names the key; nil where all is well. */
export const FAULT: string = `
local function fault(key, r) return type(r) == 'table' and r.err and key .. ': ' .. r.err or nil end`

export const RING: string = `
local function ring(q) redis.pcall('PUBLISH', p .. 'bell:' .. q, '') end`

/**
 * The chains of a queue that is read in order, for a script that has `q`, `due` and `states`. `hold`
 * says whether the message comes next of its key; if not, it waits behind the others. `free` lets
 * the next one of its key go, and says whether there is one. `loosen` lets all of them go, in no
 * order: somebody has deleted what says who waits for whom.
 */
export const ORDER: string = `
local chains = p .. 'keys:' .. q
local function chainOf(key)
  local text = redis.call('HGET', chains, 'k' .. key)
  local fine, chain = pcall(cjson.decode, text or '')
  return fine and type(chain) == 'table' and chain.first and chain.last and chain or nil
end
local function waiting(change)
  local count = (tonumber(redis.call('HGET', chains, '#')) or 0) + change
  if change ~= 0 then
    if count > 0 then redis.call('HSET', chains, '#', count)
    else redis.call('HDEL', chains, '#') end
  end
  return count
end
local function loosen()
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', due, 'inf', 'inf')) do
    redis.call('HDEL', states, id)
    redis.call('ZADD', due, now(), id)
  end
  redis.call('DEL', chains)
  redis.call('HSET', chains, 'on', '1')
end
local function hold(id, state, key)
  local chain = chainOf(key)
  state.k = key
  if not chain then
    redis.call('HSET', chains, 'k' .. key, cjson.encode({first = id, last = id}))
    return true
  end
  if chain.first == id then return true end
  local last = decoded(redis.call('HGET', states, chain.last))
  last.n = id
  redis.call('HSET', states, chain.last, cjson.encode(last), id, cjson.encode(state))
  redis.call('HSET', chains, 'k' .. key, cjson.encode({first = chain.first, last = id}))
  redis.call('ZADD', due, 'inf', id)
  waiting(1)
  return false
end
local function free(id, state)
  redis.call('ZREM', due, id)
  redis.call('HDEL', states, id)
  local chain = state.k and chainOf(state.k)
  if not chain or chain.first ~= id then return false end
  if not state.n then
    redis.call('HDEL', chains, 'k' .. state.k)
    if chain.last ~= id then loosen() end
    return chain.last ~= id
  end
  redis.call('HSET', chains, 'k' .. state.k, cjson.encode({first = state.n, last = chain.last}))
  redis.call('ZADD', due, now(), state.n)
  waiting(-1)
  return true
end`
