import { type API, Connection, findCoordinatorV6, metadataV12 } from '@platformatic/kafka'
import { MersalError } from '../../../core/errors/errors.ts'
import { systemClock } from '../../../lib/async/clock.ts'
import { withOwnSockets } from '../../../lib/own-sockets.ts'
import type { Link } from '../../shared/link.ts'
import { invalid, type KafkaSettings } from '../options.ts'
import type { Server } from './address.ts'
import { checkBroker } from './broker.ts'
import { codes, codesIn, coordinatorCodes, movedCodes, partly } from './faults.ts'
import { serverNameOf, tlsOf } from './tls.ts'
import { type TopicInfo, topicInfo } from './topic-info.ts'

export type KafkaLink = Link<Cluster>

/** What a connection is used for: one that waits for messages must not hold up the others. */
export type Purpose = 'ask' | 'publish' | 'group' | `fetch ${string}`

const HEARTBEAT_MS = 3000
/** A broker that starts on a busy machine may need this time until it has all of its topics. */
const SETTLING_MS = 30_000
const GROUP = 0
const COORDINATOR_TRIES = 6
const COORDINATOR_PAUSE_MS = 100

/** The brokers of a cluster, as long as one of them answers without a break. */
export class Cluster {
  readonly #settings: KafkaSettings
  readonly #tls: object | undefined
  readonly #seen: Set<string>
  /** Topics that this connection has shown: if one of them goes, it was deleted. */
  readonly #shown = new Set<string>()
  #connectedAt = 0
  readonly #open = new Map<string, Promise<Connection>>()
  readonly #topics = new Map<string, TopicInfo>()
  readonly #coordinators = new Map<string, number>()
  #brokers = new Map<number, Server>()
  #control!: Connection
  readonly #closing = new AbortController()
  version = '?'

  /** `seen`: topics that were there at some time, over all connections of a transport. */
  constructor(settings: KafkaSettings, seen: Set<string>) {
    this.#settings = settings
    this.#seen = seen
    this.#tls = tlsOf(settings.tls)
  }

  get #isClosed(): boolean {
    return this.#closing.signal.aborted
  }

  /** Connects to the first broker of the list that answers. */
  async connect(): Promise<this> {
    let failure: unknown
    const { servers } = this.#settings
    const first = Math.floor(Math.random() * servers.length)
    for (let index = 0; index < servers.length; index++) {
      try {
        this.#control = await this.#connect(
          servers[(first + index) % servers.length] as Server,
          this.#settings.connectTimeoutMs,
        )
        this.version = await checkBroker(this.#control)
        await this.topics([], true)
        this.#connectedAt = systemClock.monotonic()
        return this
      } catch (error) {
        this.#control?.socket?.destroy()
        failure = error
      }
    }
    throw failure
  }

  /** Calls back once when the broker that was found first is silent or gone. */
  watch(lost: (problem: unknown) => void): void {
    this.#control.once('close', () => lost(undefined))
    const timer = setInterval(() => {
      if (this.#isClosed) clearInterval(timer)
      else this.topics([], true).catch(lost)
    }, HEARTBEAT_MS)
    timer.unref()
  }

  destroy(): void {
    this.#closing.abort()
    this.#control?.socket?.destroy()
    for (const opening of this.#open.values())
      opening.then(
        ({ socket }) => socket?.destroy(),
        () => {},
      )
  }

  /** Asks the broker that was found first. */
  ask<Arguments extends unknown[], Response>(
    api: API<Arguments, Response>,
    ...given: Arguments
  ): Promise<Response> {
    return api.async(this.#control, ...given)
  }

  /**
   * What the cluster knows of these topics; one that does not exist is left out. Whoever asks gets
   * the answer to his own question: beside him, others forget what they know of the same topic.
   */
  async topics(names: readonly string[], fresh = false): Promise<ReadonlyMap<string, TopicInfo>> {
    if (fresh || names.some((name) => !this.#topics.has(name))) return await this.#look([...names])
    return new Map(names.map((name) => [name, this.#topics.get(name) as TopicInfo]))
  }

  /** The names of all topics that begin so. */
  async topicNames(prefix: string): Promise<readonly string[]> {
    const { topics } = await this.#metadata(null)
    return topics.flatMap(({ name }) => (name?.startsWith(prefix) === true ? [name] : []))
  }

  /** Whether a topic that is not known may still come to be known. */
  get isSettling(): boolean {
    return systemClock.monotonic() - this.#connectedAt <= SETTLING_MS
  }

  /** What is known of it may be wrong. */
  forget(topic: string): void {
    this.#topics.delete(topic)
  }

  async topicOf(id: string, names: readonly string[]): Promise<string | undefined> {
    const find = (): string | undefined => names.find((name) => this.#topics.get(name)?.id === id)
    if (find() === undefined) await this.topics(names, true)
    return find()
  }

  /** A connection to the broker with this number. */
  to(broker: number, purpose: Purpose): Promise<Connection> {
    const key = `${broker} ${purpose}`
    const known = this.#open.get(key)
    if (known !== undefined) return known
    const server = this.#brokers.get(broker)
    if (server === undefined || this.#isClosed)
      return Promise.reject(
        new MersalError('MERSAL_UNAVAILABLE', `broker ${broker} is not there now`),
      )
    const { confirmTimeoutMs, connectTimeoutMs } = this.#settings
    const longest = purpose === 'publish' ? confirmTimeoutMs : connectTimeoutMs
    const opening = this.#connect(server, longest)
    this.#open.set(key, opening)
    const drop = (): void => {
      if (this.#open.get(key) === opening) this.#open.delete(key)
    }
    opening.then((connection) => connection.once('close', drop), drop)
    return opening
  }

  /** Ends the connections for a purpose that is over. */
  drop(purpose: Purpose): void {
    for (const [key, opening] of this.#open)
      if (key.endsWith(` ${purpose}`))
        opening.then(
          ({ socket }) => socket?.destroy(),
          () => {},
        )
  }

  /** The broker that leads this partition. */
  async leader(topic: string, partition: number): Promise<number> {
    const info = (await this.topics([topic])).get(topic)
    const leader = info?.partitions[partition]?.leader ?? -1
    if (leader >= 0) return leader
    this.forget(topic)
    throw new MersalError(
      'MERSAL_UNAVAILABLE',
      `partition ${partition} of '${topic}' has no leader now`,
    )
  }

  /** Asks the leader of a partition; what is known of it is forgotten if that was another one. */
  async askLeader<Arguments extends unknown[], Response>(
    { topic, partition }: { readonly topic: string; readonly partition: number },
    api: API<Arguments, Response>,
    ...given: Arguments
  ): Promise<Response> {
    const connection = await this.to(await this.leader(topic, partition), 'ask')
    try {
      return await api.async(connection, ...given)
    } catch (error) {
      if (codesIn(error).some((code) => movedCodes.has(code))) this.forget(topic)
      throw error
    }
  }

  /** Asks the coordinator of a group. */
  async askGroup<Arguments extends unknown[], Response>(
    group: string,
    api: API<Arguments, Response>,
    ...given: Arguments
  ): Promise<Response> {
    for (let tries = 1; ; tries++) {
      try {
        const connection = await this.to(await this.#coordinator(group), 'group')
        return await api.async(connection, ...given)
      } catch (error) {
        const found = codesIn(error)
        const hasMoved = found.some((code) => coordinatorCodes.has(code))
        if (hasMoved || found.length === 0) this.#coordinators.delete(group)
        // Just after a start it reads what it has to know.
        if (!hasMoved || tries > COORDINATOR_TRIES || this.#isClosed) throw error
        await systemClock.sleep(COORDINATOR_PAUSE_MS * tries)
      }
    }
  }

  async #coordinator(group: string): Promise<number> {
    const known = this.#coordinators.get(group)
    if (known !== undefined) return known
    const { coordinators } = await this.ask(findCoordinatorV6.api, GROUP, [group])
    const { nodeId = -1, host = '', port = 0 } = coordinators[0] ?? {}
    if (!this.#brokers.has(nodeId)) this.#brokers.set(nodeId, { host, port })
    this.#coordinators.set(group, nodeId)
    return nodeId
  }

  #metadata(names: string[] | null) {
    return partly(this.ask(metadataV12.api, names, false, false))
  }

  async #look(names: string[]): Promise<ReadonlyMap<string, TopicInfo>> {
    const { brokers, topics } = await this.#metadata(names)
    this.#brokers = new Map(brokers.map(({ nodeId, host, port }) => [nodeId, { host, port }]))
    const found = new Map<string, TopicInfo>()
    for (const { name, topicId, errorCode, partitions } of topics) {
      if (typeof name !== 'string') continue
      if (errorCode === 0) found.set(name, topicInfo(topicId, partitions))
      else this.#topics.delete(name)
      this.#doubt(name, errorCode)
    }
    for (const [name, info] of found) this.#topics.set(name, info)
    const denied = topics.find(({ errorCode }) => errorCode === 29)
    if (denied !== undefined)
      throw invalid('sasl', `the user must not see the topic '${denied.name}' (docs/kafka.md)`)
    return found
  }

  /**
   * A broker that has just started may not know all topics, or not who leads them. One that was
   * there on an earlier connection, and not yet on this one, is missing for the time being.
   */
  #doubt(name: string, errorCode: number): void {
    if (errorCode === 0) {
      this.#seen.add(name)
      this.#shown.add(name)
    } else if (errorCode === codes.unknownTopic) this.#doubtMissing(name)
    else if (errorCode !== codes.topicAuthorization)
      throw new MersalError('MERSAL_UNAVAILABLE', `'${name}' cannot be used now (${errorCode})`)
  }

  #doubtMissing(name: string): void {
    if (!this.#seen.has(name)) return
    if (this.isSettling && !this.#shown.has(name))
      throw new MersalError('MERSAL_UNAVAILABLE', `the broker does not know '${name}' yet`)
    this.#seen.delete(name)
  }

  #secure(host: string): object {
    if (this.#tls === undefined) return {}
    const tlsServerName = serverNameOf(this.#settings.tls, host)
    return { tls: this.#tls, ...(tlsServerName === undefined ? {} : { tlsServerName }) }
  }

  async #connect({ host, port }: Server, longestMs: number): Promise<Connection> {
    const { clientId, connectTimeoutMs, sasl } = this.#settings
    const connection = new Connection(clientId, {
      connectTimeout: connectTimeoutMs,
      requestTimeout: longestMs,
      // Shown by the client to whoever subscribes to its diagnostics: no settings, no password.
      context: { clientId },
      maxInflights: 100,
      ...this.#secure(host),
      ...(sasl === undefined ? {} : { sasl }),
    })
    // Whoever waits for an answer is told; nobody else needs to be.
    connection.on('error', () => {})
    try {
      await withOwnSockets(this.#closing.signal, async () => connection.connect(host, port))
    } catch (error) {
      connection.socket?.destroy()
      throw error
    }
    if (this.#isClosed) connection.socket.destroy()
    return connection
  }
}
