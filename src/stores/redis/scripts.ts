import type { Script } from '../../lib/redis-script.ts'

/**
 * Each step is one script, by the clock of the server. `p` begins every key. A document is a hash
 * with its state, its version and its messages (`m:1`, `m:2`, …, from `first` to `last`); what it
 * has handled is a sorted set beside it. The sorted set `due` names the documents with messages, by
 * the time from which a relay may hold them; the hash `holds` has the token of the relay.
 *
 * Redis takes nothing back when a script fails in its middle. So each script first tries the kind
 * of every key and the right to every command, by commands that change nothing: no member and no
 * field is called ''. What cannot be tried is written first, and in one command.
 */
const PRELUDE = `
local p, a = KEYS[1], ARGV
local function now()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
local name = a[1]
local doc, due, holds, dead = p .. 'doc:' .. name, p .. 'due', p .. 'holds', p .. 'dead'
`

const script = (flags: string, body: string): Script => ({
  text: `#!lua${flags}${PRELUDE}${body}`,
})

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
local found = redis.call('HMGET', doc, 'version', 'last')
local version, last = tonumber(found[1] or '0'), tonumber(found[2] or '0')
if version ~= tonumber(a[2]) then return 'conflict' end
local time, all = now(), {doc, 'version', version + 1}
local function add(field, value) all[#all + 1], all[#all + 2] = field, value end
if a[5] ~= '' then
  redis.call('ZREMRANGEBYSCORE', inbox, '-inf', time - tonumber(a[6]))
  redis.call('ZADD', inbox, 'XX', 0, '')
end
if #a > 6 then redis.call('ZADD', due, 'XX', 0, '') end
if a[3] == '1' then add('state', a[4]) else redis.call('HDEL', doc, '') end
for i = 7, #a do add('m:' .. last + i - 6, a[i]) end
if #a > 6 then add('last', last + #a - 6) end
redis.call('HSET', unpack(all))
if a[3] ~= '1' then redis.call('HDEL', doc, 'state') end
if #a > 6 then redis.call('ZADD', due, 'NX', time, name) end
if a[5] ~= '' then redis.call('ZADD', inbox, time, a[5]) end
return 'saved'`,
)

/**
 * Arguments: '', most documents, hold in ms, token, most messages of one, most bytes. Returns the
 * documents, and which ones could not be read and why: those come again after the hold, so that
 * they hold up no other one.
 */
const find = script(
  ' flags=allow-oom',
  `
local time, out, bad, room = now(), {}, {}, tonumber(a[6])
local until_ = time + tonumber(a[3])
redis.call('HDEL', holds, '')
local function hold(one)
  local key, messages = p .. 'doc:' .. one, {}
  local ends = redis.call('HMGET', key, 'first', 'last', 'history')
  local first, last = tonumber(ends[1] or '1'), tonumber(ends[2] or '0')
  for n = first, last do
    if #messages >= tonumber(a[5]) or room <= 0 then break end
    local message = redis.call('HGET', key, 'm:' .. n)
    if message then
      messages[#messages + 1] = message
      room = room - #message
    -- Somebody has taken it out.
    elseif #messages == 0 then first = n + 1
    else break end
  end
  if #messages == 0 then
    redis.call('ZREM', due, one)
    redis.call('HDEL', holds, one)
    return nil
  end
  redis.call('ZADD', due, until_, one)
  redis.call('HSET', holds, one, a[4])
  if first ~= tonumber(ends[1] or '1') then redis.call('HSET', key, 'first', first) end
  return {one, redis.call('HINCRBY', key, 'attempts', 1), messages, ends[3] or ''}
end
for _, one in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', time, 'LIMIT', 0, a[2])) do
  if room <= 0 then break end
  local fine, held = pcall(hold, one)
  if fine then out[#out + 1] = held
  else
    redis.call('ZADD', due, until_, one)
    bad[#bad + 1] = p .. 'doc:' .. one .. ': ' .. tostring(type(held) == 'table' and held.err or held)
  end
end
return {out, bad}`,
)

/**
 * Arguments: document, token, confirmed, attempts, ms until it is due, reason or '', error, 1 if
 * it may have been published, history or ''. Where the dead letter cannot be stored the message stays, the rest is
 * done all the same, and the error is returned.
 */
const remove = script(
  ' flags=allow-oom',
  `
if redis.call('HGET', holds, name) ~= a[2] then return 0 end
local ends = redis.call('HMGET', doc, 'first', 'last', 'attempts')
local first, last, had = tonumber(ends[1] or '1'), tonumber(ends[2] or '0'), tonumber(ends[3] or '0')
local next_, attempts, wait, failed = first + tonumber(a[3]), a[4], tonumber(a[5]), nil
local message = a[6] ~= '' and redis.call('HGET', doc, 'm:' .. next_)
redis.call('ZADD', due, 'XX', 0, '')
redis.call('HDEL', holds, '')
redis.call('HDEL', doc, '')
redis.call('HSET', doc, 'attempts', had)
local gone, noted = {doc}, a[9]
for n = first, next_ - 1 do gone[#gone + 1] = 'm:' .. n end
if message then
  if next_ > first then had = 1 end
  local stored = redis.pcall('XADD', dead, '*', 'document', name, 'reason', a[6], 'error', a[7],
    'attempts', had, 'died-at', now(), 'maybe-published', a[8], 'history', noted, 'message', message)
  if type(stored) == 'table' and stored.err then
    failed, attempts, wait = dead .. ': ' .. stored.err, had - 1, math.max(wait, 5000)
    noted = ''
  else
    noted = nil
    gone[#gone + 1] = 'm:' .. next_
    next_ = next_ + 1
  end
end
redis.call('HSET', doc, 'first', next_, 'attempts', attempts)
if noted and noted ~= '' then redis.call('HSET', doc, 'history', noted)
elseif not noted or tonumber(a[3]) > 0 then gone[#gone + 1] = 'history' end
if #gone > 1 then redis.call('HDEL', unpack(gone)) end
redis.call('HDEL', holds, name)
if next_ > last then
  redis.call('ZREM', due, name)
  redis.call('HDEL', doc, 'first', 'last', 'attempts', 'history')
else redis.call('ZADD', due, now() + wait, name) end
return failed and redis.error_reply('ERR ' .. failed) or 1`,
)

/**
 * Arguments: '', most, most bytes, largest, where the part begins. Returns place, bytes that are
 * withheld, and fields of each dead letter.
 */
const buried = script(
  ' flags=no-writes',
  `
local most, room, largest, from = tonumber(a[2]), tonumber(a[3]), tonumber(a[4]), a[5]
local out = {}
while #out < most and room > 0 do
  local entry = redis.call('XRANGE', dead, from, '+', 'COUNT', 1)[1]
  if not entry then break end
  local f, size, shown = entry[2], 0, {}
  for i = 2, #f, 2 do size = size + #f[i] end
  local fits = size <= largest
  for i = 1, #f, 2 do
    local line = not fits and string.find(f[i + 1], '\\n', 1, true)
    shown[i] = f[i]
    shown[i + 1] = fits and f[i + 1] or string.sub(f[i + 1], 1, math.min(line or 4000, 65536))
  end
  if fits then room = room - size end
  out[#out + 1] = {entry[1], fits and '' or size, shown}
  from = '(' .. entry[1]
end
return out`,
)

/** Arguments: '', places. Returns how many are back. */
const revive = script(
  '',
  `
local count = 0
redis.call('ZADD', due, 'XX', 0, '')
redis.call('XDEL', dead, '0-0')
for i = 2, #a do
  local entry = redis.call('XRANGE', dead, a[i], a[i])[1]
  local f = {}
  if entry then for n = 1, #entry[2], 2 do f[entry[2][n]] = entry[2][n + 1] end end
  if f.document and f.message then
    local key = p .. 'doc:' .. f.document
    local last = tonumber(redis.call('HGET', key, 'last') or '0') + 1
    redis.call('HSET', key, 'last', last, 'm:' .. last, f.message)
    redis.call('ZADD', due, 'NX', now(), f.document)
    redis.call('XDEL', dead, a[i])
    count = count + 1
  end
end
return count`,
)

export const documentScripts: Readonly<
  Record<'load' | 'save' | 'find' | 'remove' | 'buried' | 'revive', Script>
> = { load, save, find, remove, buried, revive }
