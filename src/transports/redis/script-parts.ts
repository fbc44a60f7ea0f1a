import type { Script } from '../../lib/redis-script.ts'

/**
 * What happens to messages, each step as one script, by the clock of the server. `p` begins every
 * key. Keys of a queue: a stream with its messages, a sorted set `due` with the time from which
 * each message that was handed out may be handed out again (the end of a hold, a retry and a delay
 * alike), a hash `state` with attempts and the token of the holder.
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
