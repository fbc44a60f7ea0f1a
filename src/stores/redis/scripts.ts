/**
 * Each step is one script: all of it or nothing, by the clock of the server. `p` begins every key.
 * A document is a hash with its state, its version and its messages (`m:1`, `m:2`, …, from `first`
 * to `last`); what it has handled is a sorted set beside it. The sorted set `due` names the
 * documents with messages, by the time from which a relay may hold them; the hash `holds` has the
 * token of the relay.
 */
const PRELUDE = `
local p, a = KEYS[1], ARGV
local function now()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
local name = a[1]
local doc = p .. 'doc:' .. name
`

const script = (flags: string, body: string): string => `#!lua${flags}${PRELUDE}${body}`

/** Arguments: document, what is handled or ''. Returns state or false, version, handled. */
const load = script(
  ' flags=no-writes',
  `
local handled = a[2] ~= '' and redis.call('ZSCORE', p .. 'inbox:' .. name, a[2])
local found = redis.call('HMGET', doc, 'state', 'version')
return {found[1], tonumber(found[2] or '0'), handled and 1 or 0}`,
)

/**
 * Arguments: document, version, 1 if there is a state, state, what is handled or '', how long that
 * is known in ms, messages.
 */
const save = script(
  '',
  `
local inbox = p .. 'inbox:' .. name
if a[5] ~= '' and redis.call('ZSCORE', inbox, a[5]) then return 'handled' end
local version = tonumber(redis.call('HGET', doc, 'version') or '0')
if version ~= tonumber(a[2]) then return 'conflict' end
redis.call('HSET', doc, 'version', version + 1)
if a[3] == '1' then redis.call('HSET', doc, 'state', a[4]) else redis.call('HDEL', doc, 'state') end
for i = 7, #a do redis.call('HSET', doc, 'm:' .. redis.call('HINCRBY', doc, 'last', 1), a[i]) end
local time = now()
if #a > 6 then redis.call('ZADD', p .. 'due', 'NX', time, name) end
if a[5] ~= '' then
  redis.call('ZADD', inbox, time, a[5])
  redis.call('ZREMRANGEBYSCORE', inbox, '-inf', time - tonumber(a[6]))
end
return 'saved'`,
)

/** Arguments: '', most documents, hold in ms, token, most messages of one, most bytes. */
const find = script(
  ' flags=allow-oom',
  `
local time, out, room = now(), {}, tonumber(a[6])
for _, one in ipairs(redis.call('ZRANGEBYSCORE', p .. 'due', '-inf', time, 'LIMIT', 0, a[2])) do
  if room <= 0 then break end
  local key, messages = p .. 'doc:' .. one, {}
  local ends = redis.call('HMGET', key, 'first', 'last')
  local first, last = tonumber(ends[1] or '1'), tonumber(ends[2] or '0')
  for n = first, math.min(last, first + tonumber(a[5]) - 1) do
    local message = redis.call('HGET', key, 'm:' .. n)
    if not message or room <= 0 then break end
    messages[#messages + 1] = message
    room = room - #message
  end
  if #messages == 0 then
    redis.call('ZREM', p .. 'due', one)
    redis.call('HDEL', p .. 'holds', one)
  else
    redis.call('ZADD', p .. 'due', time + tonumber(a[3]), one)
    redis.call('HSET', p .. 'holds', one, a[4])
    out[#out + 1] = {one, redis.call('HINCRBY', key, 'attempts', 1), messages}
  end
end
return out`,
)

/** Arguments: document, token, confirmed, attempts, ms until it is due, reason or '', error. */
const remove = script(
  ' flags=allow-oom',
  `
if redis.call('HGET', p .. 'holds', name) ~= a[2] then return 0 end
local ends = redis.call('HMGET', doc, 'first', 'last', 'attempts')
local first, last = tonumber(ends[1] or '1'), tonumber(ends[2] or '0')
for n = first, first + tonumber(a[3]) - 1 do redis.call('HDEL', doc, 'm:' .. n) end
first = first + tonumber(a[3])
local message = a[6] ~= '' and redis.call('HGET', doc, 'm:' .. first)
if message then
  local attempts = tonumber(a[3]) > 0 and 1 or ends[3]
  redis.call('XADD', p .. 'dead', '*', 'document', name, 'reason', a[6], 'error', a[7],
    'attempts', attempts, 'died-at', now(), 'message', message)
  redis.call('HDEL', doc, 'm:' .. first)
  first = first + 1
end
redis.call('HSET', doc, 'first', first, 'attempts', a[4])
redis.call('HDEL', p .. 'holds', name)
if first > last then
  redis.call('ZREM', p .. 'due', name)
  redis.call('HDEL', doc, 'first', 'last', 'attempts')
  if redis.call('HLEN', doc) == 0 then redis.call('DEL', doc) end
else redis.call('ZADD', p .. 'due', now() + tonumber(a[5]), name) end
return 1`,
)

/** Arguments: '', places. Returns how many are back. */
const revive = script(
  '',
  `
local count = 0
for i = 2, #a do
  local entry = redis.call('XRANGE', p .. 'dead', a[i], a[i])[1]
  if entry then
    local f = {}
    for n = 1, #entry[2], 2 do f[entry[2][n]] = entry[2][n + 1] end
    local key = p .. 'doc:' .. f.document
    redis.call('HSET', key, 'm:' .. redis.call('HINCRBY', key, 'last', 1), f.message)
    redis.call('ZADD', p .. 'due', 'NX', now(), f.document)
    redis.call('XDEL', p .. 'dead', a[i])
    count = count + 1
  end
end
return count`,
)

export const documentScripts: Readonly<
  Record<'load' | 'save' | 'find' | 'remove' | 'revive', string>
> = { load, save, find, remove, revive }
