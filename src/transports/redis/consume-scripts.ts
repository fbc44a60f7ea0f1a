import type { Script } from '../../lib/redis-script.ts'
import { headerNames } from '../../core/messages/message.ts'
import { FREES, NOW, ORDER, RING, script, STATE } from './script-parts.ts'

/** Most messages of a queue that wait behind others of their keys, beside those in its stream. */
const MOST_BEHIND = 10_000
/** Most messages that one script moves behind others. */
const MOST_AT_ONCE = 500

/**
 * Arguments: queue, most messages, hold in ms, token, largest message, most bytes, '1' to keep the
 * order of each key. Returns messages (what is due again, then what is new), whether there may be
 * more, ms until something is due, and whether the queue is missing.
 */
export const take: Script = script(
  FREES,
  `${NOW}${STATE}
local q, most, holdMs, token = a[1], tonumber(a[2]), tonumber(a[3]), a[4]
local largest, room, ordered = tonumber(a[5]), tonumber(a[6]), a[7] == '1'
local stream, due, states = p .. 'queue:' .. q, p .. 'due:' .. q, p .. 'state:' .. q${ORDER}
local time, out, missing, failed, moved = now(), {}, 0, nil, 0
local declared = redis.call('SISMEMBER', p .. 'queues', q)
redis.call('XRANGE', stream, '0-1', '0-1')
redis.call('ZADD', due, 'XX', 0, '')
redis.call('HDEL', states, '')
redis.call('HDEL', chains, '')
-- One consumer that asks for it is enough: an order that another one does not keep is none.
local isOn = redis.call('HGET', chains, 'on')
if ordered and not isOn then redis.call('HSET', chains, 'on', '1') end
ordered = ordered or isOn
local function fieldsOf(entry)
  local f, size = {}, 0
  for i = 1, #entry[2], 2 do
    f[entry[2][i]] = entry[2][i + 1]
    size = size + #entry[2][i + 1]
  end
  return f, size
end
-- Whether it may be handled now; else it waits behind another one of its key.
local function mayBegin(id, f, state)
  if not ordered or state.k then return true end
  local fine, headers = pcall(cjson.decode, f.headers or '')
  local key = fine and type(headers) == 'table' and headers['${headerNames.partitionKey}']
  if type(key) ~= 'string' or key == '' or hold(id, state, key) then return true end
  moved = moved + 1
  return false
end
local function give(id, f, size, state)
  state.a, state.t = state.a + 1, token
  redis.call('HSET', states, id, cjson.encode(state))
  local fits = size <= largest
  if fits then room = room - size end
  out[#out + 1] = {id, state.a, state.s or '', state.r or '', state.e or '',
    fits and '' or size, f.id or '', f.type or '', fits and f.headers or '{}', fits and f.body or ''}
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', time, 'LIMIT', 0, most)) do
  if room <= 0 then break end
  local entry = redis.pcall('XRANGE', stream, id, id)[1]
  local state = decoded(redis.call('HGET', states, id))
  if entry then
    local f, size = fieldsOf(entry)
    if mayBegin(id, f, state) then
      redis.call('ZADD', due, time + holdMs, id)
      give(id, f, size, state)
    end
  else free(id, state) end
end
-- One at a time: their sizes are not known before.
while #out < most and room > 0 and moved < ${MOST_AT_ONCE} do
  if ordered and waiting(0) >= ${MOST_BEHIND} then break end
  local read = redis.pcall('XREADGROUP', 'GROUP', 'mersal', 'mersal', 'COUNT', 1, 'NOACK',
    'STREAMS', stream, '>')
  if not read then break end
  if not read.err then
    local entry = read[1][2][1]
    local id = entry[1]
    -- XREADGROUP gives it to nobody else any more, so first of all it becomes due again. One that
    -- is there already is in hand: after its group was lost a stream is read from its beginning.
    if redis.call('ZADD', due, 'NX', time + holdMs, id) == 1 then
      local f, size = fieldsOf(entry)
      local state = decoded()
      if mayBegin(id, f, state) then give(id, f, size, state) end
    end
  elseif not string.find(read.err, 'NOGROUP') then failed = read break
  elseif declared == 0 then missing = 1 break
  else
    local made = redis.pcall('XGROUP', 'CREATE', stream, 'mersal', '0', 'MKSTREAM')
    if made.err then failed = made break end
  end
end
-- What is in hand already has been counted: it is given out.
if failed and #out == 0 then return failed end
if ordered and waiting(0) == 0 and redis.call('ZRANGE', due, -1, -1, 'WITHSCORES')[2] == 'inf' then
  loosen()
end
local first = tonumber(redis.call('ZRANGE', due, 0, 0, 'WITHSCORES')[2])
local wait = first and first ~= math.huge and math.max(0, first - time) or -1
local more = #out >= most or room <= 0 or moved >= ${MOST_AT_ONCE}
return {out, more and 1 or 0, wait, missing}`,
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
 * `aside`, reason, error, ms. Returns 0 if somebody else has the message, and 2 if the next one of its
 * key may be handled now.
 */
export const settle: Script = script(
  FREES,
  `${NOW}${STATE}${RING}
local q, id, token, what = a[1], a[2], a[3], a[4]
local stream, due, states = p .. 'queue:' .. q, p .. 'due:' .. q, p .. 'state:' .. q${ORDER}
local state = decoded(redis.call('HGET', states, id))
if state.t ~= token then return 0 end
if state.k then chainOf(state.k) end
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
  if not free(id, state) then return 1 end
  ring(q)
  return 2
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
