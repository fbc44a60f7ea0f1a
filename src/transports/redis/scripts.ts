import type { Script } from '../../lib/redis-script.ts'
import { renew, settle, take } from './consume-scripts.ts'
import { FAULT, FREES, RING, script } from './script-parts.ts'

/**
 * Appends messages in their order. Arguments: '1' to discard events without subscribers, then seven
 * for each message: q or t, name, key, id, type, headers, body. One answer for each: `ok`, `none`
 * (no queue), `held` (behind an earlier one of its key that was not stored), `away …` (not stored),
 * `torn …` (some copies are).
 */
const put = script(
  '',
  `${RING}${FAULT}
local found = {}
local function look(kind, name)
  local key = p .. (kind == 't' and 'topic:' .. name or 'queues')
  local r = kind == 't' and redis.pcall('SMEMBERS', key) or redis.pcall('SISMEMBER', key, name)
  local bad = fault(key, r)
  if bad then return {bad = bad} end
  if kind == 't' then return r end
  return r == 1 and {name} or {}
end
local function queues(kind, name)
  local known = found[kind .. name]
  if known then return known end
  known = look(kind, name)
  for _, q in ipairs(known) do
    local key = p .. 'queue:' .. q
    known.bad = known.bad or fault(key, redis.pcall('XLEN', key))
  end
  found[kind .. name] = known
  return known
end
for i = 2, #a, 7 do queues(a[i], a[i + 1]) end
local answers, stopped, rung, away = {}, {}, {}, nil
local function store(i, all)
  if away or all.bad then return 'away ' .. (away or all.bad) end
  for n, q in ipairs(all) do
    local r = redis.pcall('XADD', p .. 'queue:' .. q, '*',
      'id', a[i + 3], 'type', a[i + 4], 'headers', a[i + 5], 'body', a[i + 6])
    if type(r) == 'table' and r.err then
      away = r.err
      return (n > 1 and 'torn ' or 'away ') .. away
    end
    rung[q] = true
  end
  return 'ok'
end
for i = 2, #a, 7 do
  local kind, key = a[i], a[i + 2]
  local all = queues(kind, a[i + 1])
  local answer
  if key ~= '' and stopped[key] then answer = 'held'
  elseif all.bad or #all > 0 then answer = store(i, all)
  elseif kind == 't' and a[1] == '1' then answer = 'ok'
  else answer = 'none' end
  if answer ~= 'ok' then stopped[key] = true end
  answers[#answers + 1] = answer
end
for q in pairs(rung) do ring(q) end
return answers`,
)

/** Arguments: queue, `add` or `remove`, topics. */
const declare = script(
  FREES,
  `${FAULT}
local q = a[1]
local sets = {p .. 'queues', p .. 'topics:' .. q}
for i = 3, #a do sets[#sets + 1] = p .. 'topic:' .. a[i] end
for _, key in ipairs(sets) do
  local bad = fault(key, redis.pcall('SISMEMBER', key, ''))
  if bad then return redis.error_reply('ERR ' .. bad) end
end
local made = redis.pcall('XGROUP', 'CREATE', p .. 'queue:' .. q, 'mersal', '0', 'MKSTREAM')
if made.err and not string.find(made.err, 'BUSYGROUP') then return made end
redis.call('SADD', p .. 'queues', q)
for i = 3, #a do
  local change = a[2] == 'add' and 'SADD' or 'SREM'
  redis.call(change, p .. 'topic:' .. a[i], q)
  redis.call(change, p .. 'topics:' .. q, a[i])
end
return 'ok'`,
)

/**
 * Dead letters of several queues, the oldest first. Arguments: most, most bytes, largest, then for
 * each queue its name and where its part begins. Returns queue, place, bytes that are withheld, and
 * fields of each.
 */
const buried = script(
  ' flags=no-writes',
  `
local most, room, largest = tonumber(a[1]), tonumber(a[2]), tonumber(a[3])
local heads, out = {}, {}
local function parts(id)
  local ms, seq = string.match(id, '(%d+)-(%d+)')
  return tonumber(ms), tonumber(seq)
end
local function head(q, from)
  local entry = redis.call('XRANGE', p .. 'dead:' .. q, from, '+', 'COUNT', 1)[1]
  if not entry then return end
  local ms, seq = parts(entry[1])
  heads[#heads + 1] = {q = q, entry = entry, ms = ms, seq = seq}
end
for i = 4, #a, 2 do head(a[i], a[i + 1]) end
local function before(x, y)
  if x.ms ~= y.ms then return x.ms < y.ms end
  if x.seq ~= y.seq then return x.seq < y.seq end
  return x.q < y.q
end
while #heads > 0 and #out < most and room > 0 do
  local best = 1
  for i = 2, #heads do if before(heads[i], heads[best]) then best = i end end
  local one = table.remove(heads, best)
  local f, size, shown = one.entry[2], 0, {}
  for i = 2, #f, 2 do size = size + #f[i] end
  local fits = size <= largest
  for i = 1, #f, 2 do
    if fits or (f[i] ~= 'body' and f[i] ~= 'headers') then
      shown[#shown + 1] = f[i]
      shown[#shown + 1] = fits and f[i + 1] or string.sub(f[i + 1], 1, 2000)
    end
  end
  if fits then room = room - size end
  out[#out + 1] = {one.q, one.entry[1], fits and '' or size, shown}
  head(one.q, '(' .. one.entry[1])
end
return out`,
)

/** Arguments: queue, places. Returns how many dead letters are back in their queue. */
const revive = script(
  '',
  `${RING}
local q, count = a[1], 0
if redis.call('SISMEMBER', p .. 'queues', q) == 0 then return -1 end
redis.call('XDEL', p .. 'dead:' .. q, '0-0')
for i = 2, #a do
  local entry = redis.call('XRANGE', p .. 'dead:' .. q, a[i], a[i])[1]
  if entry then
    local all = {p .. 'queue:' .. q, '*'}
    local ours = {reason = true, error = true, attempts = true, ['died-at'] = true}
    for n = 1, #entry[2], 2 do
      -- Only the first ones are of ours; what follows is as it came.
      if ours[entry[2][n]] then ours[entry[2][n]] = nil
      else all[#all + 1], all[#all + 2] = entry[2][n], entry[2][n + 1] end
    end
    redis.call('XADD', unpack(all))
    redis.call('XDEL', p .. 'dead:' .. q, a[i])
    count = count + 1
  end
end
ring(q)
return count`,
)

/** Argument: queue. Returns why it is kept, or an empty text. */
const remove = script(
  FREES,
  `
local q = a[1]
if redis.call('XLEN', p .. 'dead:' .. q) > 0 then return 'dead letters of it are there' end
if redis.call('XLEN', p .. 'queue:' .. q) > 0 then return 'messages are in it' end
if redis.call('PUBSUB', 'NUMSUB', p .. 'bell:' .. q)[2] > 0 then return 'somebody reads it' end
for _, topic in ipairs(redis.call('SMEMBERS', p .. 'topics:' .. q)) do
  redis.call('SREM', p .. 'topic:' .. topic, q)
end
redis.call('SREM', p .. 'queues', q)
for _, kind in ipairs({'queue:', 'due:', 'state:', 'keys:', 'topics:', 'dead:'}) do
  redis.call('DEL', p .. kind .. q)
end
return ''`,
)

export const scripts: Readonly<
  Record<'put' | 'declare' | 'take' | 'renew' | 'settle' | 'buried' | 'revive' | 'remove', Script>
> = { put, declare, take, renew, settle, buried, revive, remove }
