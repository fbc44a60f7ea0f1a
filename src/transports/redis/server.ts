import type { createClient } from '@redis/client'
import { MersalError } from '../../core/errors/errors.ts'
import { invalidOption } from '../../core/options.ts'
import { prefixOf } from '../../lib/redis-script.ts'
import { wordOf } from './faults.ts'
import type { RedisSettings } from './options.ts'
import { missingRights } from './rights.ts'

/** What a server says of itself. */
export interface ServerFacts {
  readonly version: string
  readonly isMaster: boolean
  readonly isCluster: boolean
  readonly appendOnly: boolean
  /** Undefined where the user may not ask. */
  readonly appendFsync: string | undefined
  readonly evictionPolicy: string
  readonly usedBytes: number
  /** 0: no limit. */
  readonly maxBytes: number
  readonly replicas: number
  /** The last write to the append-only file failed. */
  readonly writeFailed: boolean
  /** Commands that the user may not run. */
  readonly missingRights: readonly string[]
}

/** What a client of Redis is needed for here. */
export type Questions = Pick<ReturnType<typeof createClient>, 'sendCommand'>

export async function factsOf(
  client: Questions,
  { prefix }: Pick<RedisSettings, 'prefix'>,
): Promise<ServerFacts> {
  const info = new Map<string, string>()
  const text = await client.sendCommand<string>(['INFO'])
  for (const line of text.split('\r\n')) {
    const at = line.indexOf(':')
    if (at > 0) info.set(line.slice(0, at), line.slice(at + 1))
  }
  const number = (name: string): number => Number(info.get(name) ?? 0)
  const version = info.get('redis_version') ?? '0'
  return {
    version,
    isMaster: info.get('role') !== 'slave',
    isCluster: info.get('cluster_enabled') === '1',
    appendOnly: info.get('aof_enabled') === '1',
    appendFsync: await appendFsync(client),
    evictionPolicy: info.get('maxmemory_policy') ?? 'noeviction',
    usedBytes: number('used_memory'),
    maxBytes: number('maxmemory'),
    replicas: number('connected_slaves'),
    writeFailed: info.get('aof_last_write_status') === 'err',
    // An older server cannot tell, and is refused for that.
    missingRights: olderThan(version, OLDEST) ? [] : await missingRights(client, prefixOf(prefix)),
  }
}

/** Many who rent out servers allow nobody to read the configuration. */
async function appendFsync(client: Questions): Promise<string | undefined> {
  try {
    const answer: unknown = await client.sendCommand(['CONFIG', 'GET', 'appendfsync'])
    if (Array.isArray(answer)) return String(answer[1])
    return (answer as { readonly appendfsync?: string }).appendfsync
  } catch (error) {
    if (wordOf(error) === '') throw error
    return undefined
  }
}

const OLDEST = [7, 0] as const

const olderThan = (version: string, [major, minor]: readonly [number, number]): boolean => {
  const [one = 0, two = 0] = version.split('.').map(Number)
  return one < major || (one === major && two < minor)
}

/** Whether a server loses keys of ours to make room. Keys that expire are none of ours. */
export const evicts = ({ evictionPolicy }: ServerFacts): boolean =>
  evictionPolicy.startsWith('allkeys-')

/** Throws unless the server can serve. A replica may become the master. */
export function checkServer(facts: ServerFacts, settings: RedisSettings): void {
  const { version, isMaster, isCluster, appendFsync, evictionPolicy } = facts
  const { allowLoss, confirm } = settings
  if (olderThan(version, OLDEST))
    throw invalidOption('redis.url', `the server is Redis ${version}; 7.0 or later is needed`)
  if (isCluster)
    throw invalidOption('redis.url', 'Redis Cluster is not supported: use one master with replicas')
  if (!isMaster) throw new MersalError('MERSAL_UNAVAILABLE', 'the server is a replica')
  if (!facts.appendOnly && !allowLoss)
    throw invalidOption(
      'redis.allowLoss',
      'the server keeps nothing on its disk (appendonly no): run CONFIG SET appendonly yes and CONFIG REWRITE, or accept the loss of messages with allowLoss: true',
    )
  if (evicts(facts) && !allowLoss)
    throw invalidOption(
      'redis.allowLoss',
      `the server drops messages when its memory is full (maxmemory-policy ${evictionPolicy}): set noeviction, or accept the loss of messages with allowLoss: true`,
    )
  if (confirm === 'synced' && !facts.appendOnly)
    throw invalidOption(
      'redis.confirm',
      "'synced' needs appendonly yes: the server keeps nothing on its disk, so allowLoss does not help",
    )
  if (confirm === 'synced' && appendFsync !== 'always' && olderThan(version, [7, 2]))
    throw invalidOption(
      'redis.confirm',
      `'synced' needs appendfsync always, or Redis 7.2 (the server is ${version}, appendfsync ${appendFsync ?? 'unknown'})`,
    )
}

/** What to tell a person about a server that may be used. */
export function worriesAbout(facts: ServerFacts, settings: RedisSettings): readonly string[] {
  const all = [
    diskWorry(facts, settings),
    replicaWorry(facts, settings),
    rightsWorry(facts, settings),
  ]
  return all.filter((worry) => worry !== undefined)
}

function rightsWorry({ missingRights: missing }: ServerFacts, { prefix }: RedisSettings) {
  if (missing.length === 0) return undefined
  return `the user lacks rights for keys and channels that begin with ${prefixOf(prefix)} (${missing.join(', ')}); docs/redis.md lists all that are needed`
}

/** How many replicas are missing for each confirm; 0 where none is asked for. */
export function missingReplicas(
  { replicas }: ServerFacts,
  { confirm }: Pick<RedisSettings, 'confirm'>,
): number {
  return typeof confirm === 'object' ? Math.max(0, confirm.replicas - replicas) : 0
}

function replicaWorry(facts: ServerFacts, settings: RedisSettings): string | undefined {
  const missing = missingReplicas(facts, settings)
  if (missing === 0) return undefined
  return `the server has ${facts.replicas} replicas, and each confirm waits for ${facts.replicas + missing}: until they are there nothing is confirmed`
}

function diskWorry(facts: ServerFacts, settings: RedisSettings): string | undefined {
  const { appendOnly, appendFsync } = facts
  if (!appendOnly)
    return 'the server keeps nothing on its disk (appendonly no): when it ends, every message is lost'
  if (evicts(facts)) return 'the server drops messages when its memory is full (maxmemory-policy)'
  if (settings.confirm === 'synced' || appendFsync === 'always') return undefined
  if (appendFsync === 'no')
    return 'the server leaves it to the system when messages reach the disk (appendfsync no): a crash of the machine can lose the last half minute of confirmed messages; set appendfsync to always'
  if (settings.confirmIsChosen) return undefined
  if (appendFsync === undefined)
    return "the user may not read when messages reach the disk (appendfsync): give it +config|get, or accept that a crash of the machine may lose the last second of confirmed messages with confirm: 'written'"
  return "a crash of the machine can lose about the last second of confirmed messages (appendfsync everysec): set appendfsync to always, or accept it with confirm: 'written'"
}
