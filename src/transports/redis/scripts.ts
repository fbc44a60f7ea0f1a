/**
 * What happens to messages, each step as one script: all of it or nothing, by the clock of the
 * server. `p` begins every key. Keys of a queue: a stream with its messages, a sorted set `due`
 * with the time from which each message that was handed out may be handed out again (the end of a
 * hold, a retry and a delay alike), a hash `state` with attempts and the token of the holder.
 */
export interface Script {
  readonly text: string
}

const script = (flags: string, body: string): Script => ({
  text: `#!lua${flags}\nlocal p, a = KEYS[1], ARGV\n${body}`,
})

/** What makes room, or moves what is there, works also while the memory is full. */
const FREES = ' flags=allow-oom'

const NOW = `
local function now()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end`

const RING = `
local function ring(q) redis.pcall('PUBLISH', p .. 'bell:' .. q, '') end`

/**
 * Appends messages in their order. Arguments: '1' to discard events without subscribers, then seven
 * for each message: q or t, name, key, id, type, headers, body. One answer for each: `ok`, `none`
 * (no queue), `held` (behind an earlier one of its key that was not stored), `away …` (not stored),
 * `torn …` (some copies are).
 */
const put = script(
  '',
  `${RING}
local found = {}
local function queues(kind, name)
  local known = found[kind .. name]
  if known then return known end
  if kind == 't' then known = redis.call('SMEMBERS', p .. 'topic:' .. name)
  elseif redis.call('SISMEMBER', p .. 'queues', name) == 1 then known = {name}
  else known = {} end
  for _, q in ipairs(known) do
    -- A key of another kind in its place.
    local r = redis.pcall('XLEN', p .. 'queue:' .. q)
    if type(r) == 'table' then known.bad = r.err end
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
  elseif #all > 0 then answer = store(i, all)
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
  `
local q = a[1]
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
 * Arguments: queue, most messages, hold in ms, token, largest message, most bytes. Returns messages
 * (what is due again, then what is new), whether there may be more, ms until something is due, and
 * whether the queue is missing.
 */
const take = script(
  FREES,
  `${NOW}
local q, most, hold, token = a[1], tonumber(a[2]), tonumber(a[3]), a[4]
local largest, room = tonumber(a[5]), tonumber(a[6])
local stream, due, states = p .. 'queue:' .. q, p .. 'due:' .. q, p .. 'state:' .. q
local time, out, missing = now(), {}, 0
local function give(entry, state)
  local f, size = {}, 0
  for i = 1, #entry[2], 2 do
    f[entry[2][i]] = entry[2][i + 1]
    size = size + #entry[2][i + 1]
  end
  state.a, state.t = state.a + 1, token
  redis.call('ZADD', due, time + hold, entry[1])
  redis.call('HSET', states, entry[1], cjson.encode(state))
  local fits = size <= largest
  if fits then room = room - size end
  out[#out + 1] = {entry[1], state.a, state.s or '', state.r or '', state.e or '',
    fits and '' or size, f.id or '', f.type or '', fits and f.headers or '{}', fits and f.body or ''}
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', time, 'LIMIT', 0, most)) do
  if room <= 0 then break end
  local entry = redis.call('XRANGE', stream, id, id)[1]
  if entry then
    local state = redis.call('HGET', states, id)
    give(entry, state and cjson.decode(state) or {a = 0})
  else
    redis.call('ZREM', due, id)
    redis.call('HDEL', states, id)
  end
end
while #out < most and room > 0 do
  local read = redis.pcall('XREADGROUP', 'GROUP', 'mersal', 'mersal',
    'COUNT', math.min(most - #out, 10), 'NOACK', 'STREAMS', stream, '>')
  if not read then break end
  if read.err then
    if not string.find(read.err, 'NOGROUP') then return read end
    if redis.call('SISMEMBER', p .. 'queues', q) == 0 then missing = 1 break end
    redis.call('XGROUP', 'CREATE', stream, 'mersal', '0', 'MKSTREAM')
  else
    for _, entry in ipairs(read[1][2]) do
      -- After its group was lost a stream is read again from its beginning.
      if not redis.call('ZSCORE', due, entry[1]) then give(entry, {a = 0}) end
    end
  end
end
local first = redis.call('ZRANGE', due, 0, 0, 'WITHSCORES')[2]
local wait = first and math.max(0, tonumber(first) - time) or -1
return {out, (#out >= most or room <= 0) and 1 or 0, wait, missing}`,
)

/** Arguments: queue, hold in ms, then id and token of each. Returns the ids that are still held. */
const renew = script(
  FREES,
  `${NOW}
local kept, until_ = {}, now() + tonumber(a[2])
for i = 3, #a, 2 do
  local state = redis.call('HGET', p .. 'state:' .. a[1], a[i])
  if state and cjson.decode(state).t == a[i + 1] then
    redis.call('ZADD', p .. 'due:' .. a[1], until_, a[i])
    kept[#kept + 1] = a[i]
  end
end
return kept`,
)

/**
 * Arguments: queue, id, token, what: `ack`; `retry`, ms, since; `release`; `reject`, reason, error;
 * `aside`, reason, error, ms. Returns 0 if somebody else has the message.
 */
const settle = script(
  FREES,
  `${NOW}${RING}
local q, id, token, what = a[1], a[2], a[3], a[4]
local stream, due, states = p .. 'queue:' .. q, p .. 'due:' .. q, p .. 'state:' .. q
local text = redis.call('HGET', states, id)
local state = text and cjson.decode(text)
if not state or state.t ~= token then return 0 end
if what == 'ack' or what == 'reject' then
  local entry = what == 'reject' and redis.call('XRANGE', stream, id, id)[1]
  if entry then
    local f = entry[2]
    local all = {p .. 'dead:' .. q, '*', 'reason', a[5], 'error', a[6], 'attempts', state.a,
      'died-at', now()}
    for i = 1, #f do all[#all + 1] = f[i] end
    redis.call('XADD', unpack(all))
  end
  redis.call('XDEL', stream, id)
  redis.call('ZREM', due, id)
  redis.call('HDEL', states, id)
  return 1
end
local wait = 0
state.t = nil
if what == 'retry' then
  wait = tonumber(a[5]) + 1
  if a[6] ~= '' then state.s, state.a = a[6], state.a - 1 end
else state.a = state.a - 1 end
if what == 'aside' then state.r, state.e, wait = a[5], a[6], tonumber(a[7]) end
redis.call('ZADD', due, now() + wait, id)
redis.call('HSET', states, id, cjson.encode(state))
if what ~= 'aside' then ring(q) end
return 1`,
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
for _, kind in ipairs({'queue:', 'due:', 'state:', 'topics:', 'dead:'}) do
  redis.call('DEL', p .. kind .. q)
end
return ''`,
)

export const scripts: Readonly<
  Record<'put' | 'declare' | 'take' | 'renew' | 'settle' | 'buried' | 'revive' | 'remove', Script>
> = { put, declare, take, renew, settle, buried, revive, remove }
