import type { MersalError } from '../../core/errors/errors.ts'
import { checkNumber, checkOptions, invalidOption } from '../../core/options.ts'
import type { Logger } from '../../core/telemetry.ts'
import { type BrokerSettings, brokerSettings } from '../shared/settings.ts'
import { optionsFromUrl, parseServers, type Server } from './connection/address.ts'

/** Certificates as text or as paths of files, each in PEM. */
export interface KafkaTls {
  readonly ca?: string
  readonly caFile?: string
  readonly cert?: string
  readonly certFile?: string
  readonly key?: string
  readonly keyFile?: string
  /** The name that the certificate must have. Default: the host. */
  readonly serverName?: string
}

export type KafkaSasl =
  | {
      readonly mechanism: 'PLAIN' | 'SCRAM-SHA-256' | 'SCRAM-SHA-512'
      readonly username: string
      readonly password: string
    }
  | {
      readonly mechanism: 'OAUTHBEARER'
      /** The token, or a function that fetches one for each connection. */
      readonly token: string | (() => string | Promise<string>)
    }

/** Options of `kafka()`. */
export interface KafkaOptions {
  /**
   * `host:port` of some brokers of the cluster, with commas between them, or as a list. Default
   * none: give this or `url`.
   */
  readonly bootstrapServers?: string | readonly string[]
  /**
   * In place of `bootstrapServers`, `tls` and `sasl`, for addresses from the environment:
   * `kafka://user:password@host:port,host:port`, or `kafkas://` with TLS. The mechanism is
   * SCRAM-SHA-512, or `?sasl=PLAIN`. Default none.
   */
  readonly url?: string
  /** Names the program in the logs of the brokers. Default 'mersal'. */
  readonly clientId?: string
  /** `true`: certificates are checked against the authorities of Node. Default: no TLS. */
  readonly tls?: boolean | KafkaTls
  /** How the program logs in. Default: it does not. */
  readonly sasl?: KafkaSasl
  /** Begins the name of every topic and group. Default 'mersal'. */
  readonly prefix?: string
  /**
   * `declare`: topics are made when they are needed. `check`: they must exist; a missing one is an
   * error. Default 'declare'.
   */
  readonly topology?: 'declare' | 'check'
  /** Partitions of every queue, 1 to 1000: the most consumers that share it. Default 8. */
  readonly partitions?: number
  /** Copies of every topic, 1 to 9. Default: what the cluster is set to. */
  readonly replicationFactor?: number
  /**
   * What becomes of an event that no queue takes: `refuse` answers `unroutable`, `discard` answers
   * `confirmed`. Default 'refuse'.
   */
  readonly eventsWithoutSubscribers?: 'refuse' | 'discard'
  /**
   * Largest body plus headers, in bytes. From 1 KiB to 64 MiB. Default 1032192 (1 MiB less 16 KiB).
   */
  readonly maxMessageBytes?: number
  /**
   * Milliseconds after which the messages of a silent consumer go to another one. Brokers take no
   * less than 45000 unless they are told to. From 500 to an hour. Default 45000.
   */
  readonly sessionTimeoutMs?: number
  /**
   * Milliseconds after which a publish without an answer is `unknown`. From 10 to 600,000. Default
   * 10000.
   */
  readonly confirmTimeoutMs?: number
  /** For a connection and every question to a broker. From 10 to 600,000. Default 10000. */
  readonly connectTimeoutMs?: number
  /** Default: warnings and errors as JSON lines on standard error. `false`: silence. */
  readonly logger?: Logger | false
}

export interface KafkaSettings extends BrokerSettings {
  readonly servers: readonly Server[]
  readonly clientId: string
  readonly tls: KafkaTls | undefined
  readonly sasl: KafkaSasl | undefined
  readonly prefix: string
  readonly partitions: number
  /** -1: what the cluster is set to. */
  readonly replicationFactor: number
  readonly maxMessageBytes: number
  readonly sessionTimeoutMs: number
}

const known = [
  'bootstrapServers',
  'url',
  'clientId',
  'tls',
  'sasl',
  'prefix',
  'topology',
  'partitions',
  'replicationFactor',
  'eventsWithoutSubscribers',
  'maxMessageBytes',
  'sessionTimeoutMs',
  'confirmTimeoutMs',
  'connectTimeoutMs',
  'logger',
] satisfies (keyof KafkaOptions)[]

/** A mistake of configuration: waiting does not help. */
export function invalid(
  field: keyof KafkaOptions | `sasl.${string}` | `tls.${string}`,
  text: string,
): MersalError {
  return invalidOption(`kafka.${field}`, text)
}

function checkTls(given: unknown): KafkaTls | undefined {
  if (given === undefined || given === false) return undefined
  if (given === true) return {}
  const names = ['ca', 'caFile', 'cert', 'certFile', 'key', 'keyFile', 'serverName']
  checkOptions('kafka.tls', given, names)
  for (const [name, value] of Object.entries(given as object))
    if (typeof value !== 'string' || value === '')
      throw invalid(`tls.${name}`, 'expected text that is not empty')
  for (const part of ['ca', 'cert', 'key'] as const)
    if (part in (given as object) && `${part}File` in (given as object))
      throw invalid(`tls.${part}`, `give either '${part}' or '${part}File'`)
  return given as KafkaTls
}

const mechanisms = ['PLAIN', 'SCRAM-SHA-256', 'SCRAM-SHA-512', 'OAUTHBEARER'] as const

function checkSasl(given: KafkaSasl | undefined): KafkaSasl | undefined {
  if (given === undefined) return undefined
  checkOptions('kafka.sasl', given, ['mechanism', 'username', 'password', 'token'])
  const { mechanism } = given
  if (!mechanisms.includes(mechanism))
    throw invalid('sasl.mechanism', `expected one of ${mechanisms.join(', ')}`)
  const foreign = mechanism === 'OAUTHBEARER' ? ['username', 'password'] : ['token']
  for (const name of foreign)
    if (name in given) throw invalid(`sasl.${name}`, `is of no use with ${mechanism}: leave it out`)
  if (given.mechanism === 'OAUTHBEARER') {
    if (typeof given.token !== 'function' && (typeof given.token !== 'string' || !given.token))
      throw invalid('sasl.token', 'expected a token, or a function that returns one')
    return given
  }
  for (const name of ['username', 'password'] as const)
    if (typeof given[name] !== 'string' || given[name] === '')
      throw invalid(`sasl.${name}`, `is needed for ${mechanism}`)
  return given
}

function checkText(field: 'clientId' | 'prefix', given: unknown, preset: string): string {
  if (given === undefined) return preset
  if (typeof given !== 'string' || !/^[A-Za-z0-9-]{1,32}$/.test(given))
    throw invalid(field, "expected 1 to 32 letters, digits or '-'")
  return given
}

function withAddress(options: KafkaOptions): KafkaOptions {
  const { url, bootstrapServers } = options
  if ((url === undefined) === (bootstrapServers === undefined))
    throw invalid('bootstrapServers', "give either 'bootstrapServers' or 'url'")
  return url === undefined ? options : { ...options, ...optionsFromUrl(url) }
}

/** Fills in the defaults; throws `MERSAL_INVALID_OPTIONS` on anything else than documented. */
export function kafkaSettings(options: KafkaOptions): KafkaSettings {
  checkOptions('kafka', options, known)
  const given = withAddress(options)
  type Bounds = Parameters<typeof checkNumber>[2]
  const number = (field: keyof KafkaOptions, bounds: Bounds): number =>
    checkNumber(`kafka.${field}`, given[field], bounds)
  return {
    servers: parseServers(given.bootstrapServers),
    clientId: checkText('clientId', given.clientId, 'mersal'),
    tls: checkTls(given.tls),
    sasl: checkSasl(given.sasl),
    prefix: checkText('prefix', given.prefix, 'mersal'),
    partitions: number('partitions', { default: 8, min: 1, max: 1000 }),
    replicationFactor: number('replicationFactor', { default: -1, min: 1, max: 9 }),
    maxMessageBytes: number('maxMessageBytes', { default: 1_032_192, min: 1024, max: 64 << 20 }),
    sessionTimeoutMs: number('sessionTimeoutMs', { default: 45_000, min: 500, max: 3_600_000 }),
    ...brokerSettings('kafka', given),
  }
}
