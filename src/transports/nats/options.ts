import type { MersalError } from '../../core/errors/errors.ts'
import { checkBoolean, checkNumber, checkOptions, invalidOption } from '../../core/options.ts'
import type { Logger } from '../../core/telemetry.ts'
import { type BrokerSettings, brokerSettings, checkTlsTexts } from '../shared/settings.ts'
import { type Address, parseAddress } from './connection/address.ts'

/**
 * By these members a connection of `@nats-io/transport-node` 3 is known. The package itself is not
 * named here, so that projects without it compile.
 */
export interface NatsClient {
  getServer(): string
  isClosed(): boolean
  closed(): Promise<unknown>
  close(): Promise<void>
}

/** Opens a connection with `@nats-io/transport-node`; called again whenever one was lost. */
export type Connect = () => Promise<NatsClient>

/** Certificates as text or as paths of files, each in PEM. */
export interface NatsTls {
  readonly ca?: string
  readonly caFile?: string
  readonly cert?: string
  readonly certFile?: string
  readonly key?: string
  readonly keyFile?: string
  /** The server is set to begin with TLS at once. Default false. */
  readonly handshakeFirst?: boolean
}

/** Options of `nats()`. */
export interface NatsOptions {
  /**
   * `nats://user:password@host:port`, `nats://token@host:port`, or `tls://`. Several servers of one
   * cluster: with commas between them. Give this or `connect`. Default none.
   */
  readonly url?: string
  /**
   * For connections that a URL cannot express, such as credentials files. Set `reconnect: false`:
   * the transport connects again by itself. Default: Mersal connects to `url`.
   */
  readonly connect?: Connect
  /** Certificates and the like. A server that wants TLS gets it without this. Default none. */
  readonly tls?: NatsTls
  /** Begins the name of every stream and subject. Default 'mersal'. */
  readonly prefix?: string
  /**
   * `declare`: streams and consumers are made when they are needed. `check`: they must exist; a
   * missing one is an error. Default 'declare'.
   */
  readonly topology?: 'declare' | 'check'
  /** Copies of every stream in a cluster, 1 to 5. Default 1. */
  readonly replicas?: number
  /**
   * A queue with more bytes than this takes no message until others are handled; its senders wait.
   * From 1 KiB to 1 PiB. Default: no limit but that of the server.
   */
  readonly maxQueueBytes?: number
  /**
   * A message that is published again within this time is stored once, in milliseconds. From 100 to
   * a day. Default 120000.
   */
  readonly duplicateWindowMs?: number
  /**
   * What becomes of an event that no queue takes: `refuse` answers `unroutable`, `discard` answers
   * `confirmed`. Default 'refuse'.
   */
  readonly eventsWithoutSubscribers?: 'refuse' | 'discard'
  /**
   * Largest body plus headers, in bytes. Not above `max_payload` of the server, which also counts
   * some hundred bytes of ours. From 1 KiB to 64 MiB. Default 1032192 (1 MiB less 16 KiB).
   */
  readonly maxMessageBytes?: number
  /**
   * Milliseconds after which a message of a silent consumer goes to another one. A living consumer
   * renews it. From 500 to an hour. Default 15000.
   */
  readonly ackWaitMs?: number
  /**
   * Milliseconds after which a publish without an answer is `unknown`. From 10 to 600,000. Default
   * 10000.
   */
  readonly confirmTimeoutMs?: number
  /**
   * For the connection, the handshake and every question to JetStream. From 10 to 600,000. Default
   * 10000.
   */
  readonly connectTimeoutMs?: number
  /**
   * A dead connection is noticed within three of these. From 1 to 60. Default 6. Not used with
   * `connect`.
   */
  readonly heartbeatSeconds?: number
  /**
   * Of a queue that is read in order (`receive.orderPerKey`): how many processes can share it. From
   * 1 to 256, the same in all processes that read the queue. Default 16.
   */
  readonly partitions?: number
  /** Default: warnings and errors as JSON lines on standard error. `false`: silence. */
  readonly logger?: Logger | false
}

export interface NatsSettings extends BrokerSettings {
  readonly source:
    | { readonly address: Address; readonly tls: NatsTls | undefined }
    | { readonly connect: Connect }
  readonly prefix: string
  readonly replicas: number
  readonly maxQueueBytes: number
  readonly duplicateWindowMs: number
  readonly maxMessageBytes: number
  readonly ackWaitMs: number
  readonly heartbeatSeconds: number
  readonly partitions: number
}

const known = [
  'url',
  'connect',
  'tls',
  'prefix',
  'topology',
  'replicas',
  'maxQueueBytes',
  'duplicateWindowMs',
  'eventsWithoutSubscribers',
  'maxMessageBytes',
  'ackWaitMs',
  'confirmTimeoutMs',
  'connectTimeoutMs',
  'heartbeatSeconds',
  'partitions',
  'logger',
] satisfies (keyof NatsOptions)[]

/** A mistake of configuration: waiting does not help. */
export function invalid(field: string, text: string): MersalError {
  return invalidOption(`nats.${field}`, text)
}

function checkSource({ url, connect, tls }: NatsOptions): NatsSettings['source'] {
  if ((url === undefined) === (connect === undefined))
    throw invalid('url', "give either 'url' or 'connect'")
  if (connect === undefined) return { address: parseAddress(url), tls: checkTls(tls) }
  if (typeof connect !== 'function')
    throw invalid('connect', 'expected a function that opens a connection to NATS')
  if (tls !== undefined)
    throw invalid('tls', "goes with 'url': your 'connect' makes the connection")
  return { connect }
}

function checkTls(given: NatsTls | undefined): NatsTls | undefined {
  if (given === undefined) return undefined
  checkOptions('nats.tls', given, namesOfTls)
  const { handshakeFirst, ...texts } = given
  checkBoolean('nats.tls.handshakeFirst', handshakeFirst)
  checkTlsTexts('nats.tls', texts)
  return given
}

const namesOfTls = [
  'ca',
  'caFile',
  'cert',
  'certFile',
  'key',
  'keyFile',
  'handshakeFirst',
] satisfies (keyof NatsTls)[]

function checkPrefix(given: unknown = 'mersal'): string {
  if (typeof given !== 'string' || !/^[A-Za-z0-9_-]{1,32}$/.test(given))
    throw invalid('prefix', "expected 1 to 32 letters, digits, '_' or '-'")
  return given
}

/** Fills in the defaults; throws `MERSAL_INVALID_OPTIONS` on anything else than documented. */
export function natsSettings(given: NatsOptions): NatsSettings {
  checkOptions('nats', given, known)
  type Bounds = Parameters<typeof checkNumber>[2]
  const number = (field: keyof NatsOptions & keyof NatsSettings, bounds: Bounds): number =>
    checkNumber(`nats.${field}`, given[field], bounds)
  return {
    source: checkSource(given),
    prefix: checkPrefix(given.prefix),
    replicas: number('replicas', { default: 1, min: 1, max: 5 }),
    maxQueueBytes: number('maxQueueBytes', { default: -1, min: 1024, max: 2 ** 50 }),
    duplicateWindowMs: number('duplicateWindowMs', { default: 120_000, min: 100, max: 86_400_000 }),
    maxMessageBytes: number('maxMessageBytes', { default: 1_032_192, min: 1024, max: 64 << 20 }),
    ackWaitMs: number('ackWaitMs', { default: 15_000, min: 500, max: 3_600_000 }),
    heartbeatSeconds: number('heartbeatSeconds', { default: 6, min: 1, max: 60 }),
    partitions: number('partitions', { default: 16, min: 1, max: 256 }),
    ...brokerSettings('nats', given),
  }
}
