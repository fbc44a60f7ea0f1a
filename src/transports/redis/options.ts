import { checkBoolean, checkNumber, checkOptions, invalidOption } from '../../core/options.ts'
import type { Logger } from '../../core/telemetry.ts'
import { isPrefix, prefixRule } from '../../lib/redis-script.ts'
import { ambiguousUrl, isAmbiguousUrl } from '../../lib/ambiguous-url.ts'
import {
  checkTlsTexts,
  type ConnectionSettings,
  connectionSettings,
  queueOptionNames,
  type QueueSettings,
  queueSettings,
} from '../shared/settings.ts'

/**
 * By these members a client of `@redis/client` is known. The package itself is not named here, so
 * that projects without it compile.
 */
export interface RedisClient {
  readonly isOpen: boolean
  readonly isReady: boolean
  destroy(): void
}

/** Certificates, each as text in PEM: options of `node:tls`. */
export interface RedisTls {
  readonly ca?: string
  readonly cert?: string
  readonly key?: string
  readonly servername?: string
}

/** The servers that know which one is the master. */
export interface RedisSentinels {
  /** Name of the group that they watch, such as 'mymaster'. */
  readonly master: string
  /** `host:port` of each. */
  readonly nodes: readonly string[]
  /** Of the sentinels, where they want one. */
  readonly password?: string
}

/** What must be true before a publish counts as confirmed. */
export type RedisConfirm = 'written' | 'synced' | { readonly replicas: number }

/** Options of `redis()`. */
export interface RedisOptions extends Partial<QueueSettings> {
  /**
   * `redis://user:password@host:port/database` or `rediss://`. Give this or `connect`. Default
   * none.
   */
  readonly url?: string
  /**
   * Returns a client of `@redis/client` that is connected, with `RESP: 3` (its default) and without
   * reconnecting (`socket: { reconnectStrategy: false }`). Called again whenever one was lost.
   * Default: Mersal connects to `url`.
   */
  readonly connect?: () => Promise<RedisClient>
  /** Certificates, for `rediss://`. Default: the authorities of Node. */
  readonly tls?: RedisTls
  /**
   * Ask these which server is the master, each time. User and password still come from `url`.
   * Default none.
   */
  readonly sentinels?: RedisSentinels
  /** Begins every key: `{mersal}:`. Default 'mersal'. */
  readonly prefix?: string
  /**
   * `written`: the server has answered. `synced`: it has also called `fsync`. `{ replicas }`: so
   * many replicas have it as well. Default 'written', with a warning unless the server syncs
   * always.
   */
  readonly confirm?: RedisConfirm
  /** Works with a server that keeps nothing on a disk, or evicts keys. Default false. */
  readonly allowLoss?: boolean
  /**
   * Milliseconds after which a publish without an answer is `unknown`. From 10 to 600,000. Default
   * 10000.
   */
  readonly confirmTimeoutMs?: number
  /** For the connection and every question. From 10 to 600,000. Default 10000. */
  readonly connectTimeoutMs?: number
  /** Default: warnings and errors as JSON lines on standard error. `false`: silence. */
  readonly logger?: Logger | false
}

/** Where the server is, and who wants to connect. */
export interface Address {
  readonly host: string
  readonly port: number
  readonly secure: boolean
  readonly username: string
  readonly password: string
  readonly database: number
}

export interface RedisSettings extends ConnectionSettings, QueueSettings {
  readonly source:
    | {
        readonly address: Address
        readonly tls: RedisTls | undefined
        readonly sentinels: RedisSentinels | undefined
      }
    | { readonly connect: () => Promise<RedisClient> }
  readonly prefix: string
  readonly confirm: RedisConfirm
  /** Whoever says `confirm` himself needs no warning. */
  readonly confirmIsChosen: boolean
  readonly allowLoss: boolean
}

const known = [
  'url',
  'connect',
  'tls',
  'sentinels',
  'prefix',
  'confirm',
  'allowLoss',
  'confirmTimeoutMs',
  'connectTimeoutMs',
  'logger',
  ...queueOptionNames,
] satisfies readonly (keyof RedisOptions)[]

const FORM = 'redis://user:password@host:port/database'

/** Nothing of the URL is shown, and no error of a parser has it as its cause. */
function parseAddress(url: unknown): Address {
  const invalid = (text: string): Error => invalidOption('redis.url', text)
  if (typeof url !== 'string' || url === '') throw invalid(`expected text like ${FORM}`)
  if (isAmbiguousUrl(url)) throw invalid(ambiguousUrl)
  const parts = URL.parse(url)
  if (parts === null) throw invalid(`not a URL; expected ${FORM}`)
  if (parts.protocol !== 'redis:' && parts.protocol !== 'rediss:')
    throw invalid('must begin with redis:// or rediss://')
  if (parts.hostname === '') throw invalid(`names no host; expected ${FORM}`)
  const database = parts.pathname.replace(/^\//, '')
  if (!/^\d{0,5}$/.test(database) || parts.search !== '' || parts.hash !== '')
    throw invalid('must end with the number of a database; settings are options of redis()')
  const { username, password } = parts
  return {
    host: parts.hostname.replace(/^\[|\]$/g, ''),
    port: parts.port === '' ? 6379 : Number(parts.port),
    secure: parts.protocol === 'rediss:',
    // Neither can fail: the URL is not ambiguous.
    username: decodeURIComponent(username),
    password: decodeURIComponent(password),
    database: Number(database),
  }
}

function checkSource(given: RedisOptions): RedisSettings['source'] {
  const { url, connect, tls, sentinels } = given
  if ((url === undefined) === (connect === undefined))
    throw invalidOption('redis.url', "give either 'url' or 'connect'")
  if (connect === undefined)
    return { address: parseAddress(url), tls: checkTls(tls), sentinels: checkSentinels(sentinels) }
  if (typeof connect !== 'function')
    throw invalidOption('redis.connect', 'expected a function that connects to Redis')
  for (const name of ['tls', 'sentinels'] as const)
    if (given[name] !== undefined)
      throw invalidOption(`redis.${name}`, "goes with 'url': your 'connect' makes the connection")
  return { connect }
}

const textsOfTls = ['ca', 'cert', 'key', 'servername'] as const

function checkTls(given: RedisTls | undefined): RedisTls | undefined {
  if (given === undefined) return undefined
  checkOptions('redis.tls', given, textsOfTls)
  checkTlsTexts('redis.tls', given)
  return given
}

function checkSentinels(given: RedisSentinels | undefined): RedisSentinels | undefined {
  if (given === undefined) return undefined
  checkOptions('redis.sentinels', given, ['master', 'nodes', 'password'])
  const { master, nodes, password } = given as { readonly [Name in keyof RedisSentinels]?: unknown }
  if (typeof master !== 'string' || master === '')
    throw invalidOption('redis.sentinels.master', "expected a name, such as 'mymaster'")
  if (!Array.isArray(nodes) || nodes.length === 0 || !nodes.every(isNode))
    throw invalidOption('redis.sentinels.nodes', "expected texts like 'host:26379'")
  if (password !== undefined && (typeof password !== 'string' || password === ''))
    throw invalidOption('redis.sentinels.password', 'expected a text')
  return given
}

function isNode(node: unknown): boolean {
  // User and password have no place in it, since errors name the sentinel.
  const [, port] = (typeof node === 'string' && /^[^\s@/]+:(\d{1,5})$/.exec(node)) || []
  return port !== undefined && Number(port) > 0 && Number(port) < 65_536
}

function checkConfirm(given: unknown = 'written'): RedisConfirm {
  if (given === 'written' || given === 'synced') return given
  if (typeof given === 'string')
    throw invalidOption('redis.confirm', "expected 'written', 'synced' or { replicas: 1 }")
  checkOptions('redis.confirm', given, ['replicas'])
  const bounds = { default: 1, min: 1, max: 100 }
  return {
    replicas: checkNumber(
      'redis.confirm.replicas',
      (given as { readonly replicas?: unknown }).replicas ?? Number.NaN,
      bounds,
    ),
  }
}

function checkPrefix(given: unknown = 'mersal'): string {
  if (!isPrefix(given)) throw invalidOption('redis.prefix', prefixRule)
  return given
}

/** Redis takes no text of more than 512 MB. */
const LARGEST_BYTES = 400_000_000

/** Fills in the defaults; throws `MERSAL_INVALID_OPTIONS` on anything else than documented. */
export function redisSettings(given: RedisOptions): RedisSettings {
  checkOptions('redis', given, known)
  return {
    ...queueSettings('redis', given, { largestBytes: LARGEST_BYTES }),
    source: checkSource(given),
    prefix: checkPrefix(given.prefix),
    confirm: checkConfirm(given.confirm),
    confirmIsChosen: given.confirm !== undefined,
    allowLoss: checkBoolean('redis.allowLoss', given.allowLoss) ?? false,
    ...connectionSettings('redis', given),
  }
}
