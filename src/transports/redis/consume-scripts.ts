import type { Script } from '../../lib/redis-script.ts'
import { FREES, NOW, RING, script, STATE } from './script-parts.ts'

/**
 * Arguments: queue, most messages, hold in ms, token, largest message, most bytes. Returns messages
 * (what is due again, then what is new), whether there may be more, ms until something is due, and
 * whether the queue is missing.
 */
export const take: Script = script(
  FREES,
  `${NOW}${STATE}
local q, most, hold, token = a[1], tonumber(a[2]), tonumber(a[3]), a[4]
local largest, room = tonumber(a[5]), tonumber(a[6])
local stream, due, states = p .. 'queue:' .. q, p .. 'due:' .. q, p .. 'state:' .. q
local time, out, missing, failed = now(), {}, 0, nil
local declared = redis.call('SISMEMBER', p .. 'queues', q)
redis.call('XRANGE', stream, '0-1', '0-1')
redis.call('ZADD', due, 'XX', 0, '')
redis.call('HDEL', states, '')
local function give(entry, state)
  local f, size = {}, 0
  for i = 1, #entry[2], 2 do
    f[entry[2][i]] = entry[2][i + 1]
    size = size + #entry[2][i + 1]
  end
  state.a, state.t = state.a + 1, token
  redis.call('HSET', states, entry[1], cjson.encode(state))
  local fits = size <= largest
  if fits then room = room - size end
  out[#out + 1] = {entry[1], state.a, state.s or '', state.r or '', state.e or '',
    fits and '' or size, f.id or '', f.type or '', fits and f.headers or '{}', fits and f.body or ''}
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', time, 'LIMIT', 0, most)) do
  if room <= 0 then break end
  local entry = redis.pcall('XRANGE', stream, id, id)[1]
  if entry then
    redis.call('ZADD', due, time + hold, id)
    give(entry, decoded(redis.call('HGET', states, id)))
  else
    redis.call('ZREM', due, id)
    redis.call('HDEL', states, id)
  end
end
-- One at a time: their sizes are not known before.
while #out < most and room > 0 do
  local read = redis.pcall('XREADGROUP', 'GROUP', 'mersal', 'mersal', 'COUNT', 1, 'NOACK',
    'STREAMS', stream, '>')
  if not read then break end
  if not read.err then
    local entry = read[1][2][1]
    -- XREADGROUP gives it to nobody else any more, so first of all it becomes due again. One that
    -- is there already is in hand: after its group was lost a stream is read from its beginning.
    if redis.call('ZADD', due, 'NX', time + hold, entry[1]) == 1 then give(entry, decoded()) end
  elseif not string.find(read.err, 'NOGROUP') then failed = read break
  elseif declared == 0 then missing = 1 break
  else
    local made = redis.pcall('XGROUP', 'CREATE', stream, 'mersal', '0', 'MKSTREAM')
    if made.err then failed = made break end
  end
end
-- What is in hand already has been counted: it is given out.
if failed and #out == 0 then return failed end
local first = redis.call('ZRANGE', due, 0, 0, 'WITHSCORES')[2]
local wait = first and math.max(0, tonumber(first) - time) or -1
return {out, (#out >= most or room <= 0) and 1 or 0, wait, missing}`,
)

/** Arguments: queue, hold in ms, then id and token of each. Returns the ids that are still held. */
export const renew: Script = script(
  FREES,
  `${NOW}${STATE}
local kept, until_ = {}, now() + tonumber(a[2])
for i = 3, #a, 2 do
  if decoded(redis.call('HGET', p .. 'state:' .. a[1], a[i])).t == a[i + 1] then
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
export const settle: Script = script(
  FREES,
  `${NOW}${STATE}${RING}
local q, id, token, what = a[1], a[2], a[3], a[4]
local stream, due, states = p .. 'queue:' .. q, p .. 'due:' .. q, p .. 'state:' .. q
local state = decoded(redis.call('HGET', states, id))
if state.t ~= token then return 0 end
if what == 'ack' or what == 'reject' then
  local entry = what == 'reject' and redis.call('XRANGE', stream, id, id)[1]
  if entry then
    redis.call('XDEL', stream, '0-0')
    redis.call('ZREM', due, '')
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
