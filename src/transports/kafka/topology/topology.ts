import {
  createTopicsV7,
  deleteGroupsV2,
  deleteRecordsV2,
  deleteTopicsV6,
  describeConfigsV4,
  incrementalAlterConfigsV1,
} from '@platformatic/kafka'
import { MersalError } from '../../../core/errors/errors.ts'
import { systemClock } from '../../../lib/async/clock.ts'
import { seldom } from '../../../lib/async/seldom.ts'
import { checkQueueName, checkTopic } from './check-names.ts'
import type { Describe } from '../../shared/describe.ts'
import type { QueueMaker } from '../../shared/own-queues.ts'
import { asked } from '../connection/client.ts'
import type { Cluster, KafkaLink } from '../connection/cluster.ts'
import { codes, codesIn, detailOf } from '../connection/faults.ts'
import type { Place } from '../connection/records.ts'
import type { TopicInfo } from '../connection/topic-info.ts'
import { invalid, type KafkaSettings } from '../options.ts'
import type { Parcel } from '../publish/lane.ts'
import { mayExist } from './existence.ts'
import type { Names } from './names.ts'
import { checkTopicSettings, configOf, type Kind, risks } from './settings.ts'
import { subscriptionKey, Subscriptions } from './subscriptions.ts'

const TOPIC = 2 as const
const GROUP = 32 as const
const SET = 0 as const
/** A topic that was just made may not be known to every broker. */
const LONGEST_MAKING_MS = 5000

interface Wanted {
  readonly name: string
  readonly kind: Kind
  readonly partitions: number
}

/** Stores one record with acks=all; rejects if it is not confirmed. */
export type Store = (parcel: Parcel) => Promise<void>

/** What the cluster holds: three topics for each queue, and one with the subscriptions. */
export class Topology implements QueueMaker {
  readonly #link: KafkaLink
  readonly #settings: KafkaSettings
  readonly #describe: Describe
  readonly #store: Store
  readonly #isNews = seldom(systemClock, 600_000)
  readonly subscriptions: Subscriptions
  readonly names: Names

  constructor(
    link: KafkaLink,
    settings: KafkaSettings,
    describe: Describe,
    names: Names,
    store: Store,
  ) {
    this.#link = link
    this.#settings = settings
    this.#describe = describe
    this.#store = store
    this.names = names
    this.subscriptions = new Subscriptions(names.topics)
  }

  ask<Result>(doing: string, question: (cluster: Cluster) => Promise<Result>): Promise<Result> {
    return asked(this.#link, this.#describe, doing, question)
  }

  /** As the cluster answers, errors and all. */
  async raw<Result>(question: (cluster: Cluster) => Promise<Result>): Promise<Result> {
    return question((await this.#link.connection()).connection)
  }

  /** The topics of a queue, and that of the subscriptions. */
  wanted(queue: string): readonly Wanted[] {
    const { partitions } = this.#settings
    const { names } = this
    return [
      { name: names.topics, kind: 'kept', partitions: 1 },
      { name: names.deadTopic(queue), kind: 'kept', partitions: 1 },
      { name: names.retryTopic(queue), kind: 'retry', partitions },
      // Last: what is sent to it finds all of them.
      { name: names.queueTopic(queue), kind: 'queue', partitions },
    ]
  }

  /** Makes the topics of a queue, or only looks whether they are there and set as they must be. */
  async queue(queue: string): Promise<void> {
    checkQueueName(queue)
    const wanted = this.wanted(queue)
    const names = wanted.map(({ name }) => name)
    await this.ask(`declaring queue '${queue}'`, async (cluster) => {
      let found = await cluster.topics(names, true)
      const missing = wanted.filter(({ name }) => !found.has(name))
      if (missing.length > 0) {
        if (this.#settings.topology === 'check')
          throw invalid('topology', `the topic '${missing[0]?.name}' does not exist: make it`)
        for (const one of missing) await this.#create(cluster, one)
        found = await this.#untilThere(cluster, names)
      }
      await this.#check(cluster, wanted, found)
      if (this.#settings.topology === 'declare') await this.#setGroup(cluster, queue)
    })
  }

  /** Makes the topics deliver into the queue; `remove` takes them back. */
  async bind(queue: string, topics: readonly string[], remove: boolean): Promise<void> {
    for (const topic of topics) checkTopic(topic)
    const known = new Set(await this.topicsOf(queue))
    for (const topic of new Set(topics)) {
      if (known.has(topic) === !remove) continue
      await this.#store({
        topic: this.names.topics,
        partition: 0,
        key: subscriptionKey(topic, queue),
        headers: new Map(),
        body: remove ? null : Buffer.from('1'),
      })
    }
  }

  topicsOf(queue: string): Promise<readonly string[]> {
    return this.ask('reading the subscriptions', (cluster) =>
      this.subscriptions.topicsOf(cluster, queue),
    )
  }

  queuesOf(topic: string): Promise<readonly string[]> {
    return this.ask('reading the subscriptions', (cluster) =>
      this.subscriptions.queuesOf(cluster, topic),
    )
  }

  /** Whether a topic that the broker does not know may exist all the same. */
  mayExist(topic: string): Promise<boolean> {
    return this.ask('looking for a topic', (cluster) => mayExist(cluster, topic))
  }

  /** Settings of topics that exist. */
  async configs(
    cluster: Cluster,
    topics: readonly string[],
  ): Promise<ReadonlyMap<string, ReadonlyMap<string, string>>> {
    const { results } = await cluster.ask(
      describeConfigsV4.api,
      topics.map((resourceName) => ({
        resourceType: TOPIC,
        resourceName,
        configurationKeys: null,
      })),
      false,
      false,
    )
    return new Map(
      results.map(({ resourceName, configs }) => [
        resourceName,
        new Map(configs.map(({ name, value }) => [name, value ?? ''])),
      ]),
    )
  }

  /** Deletes what lies before an offset: it has been handled. */
  async purge(cluster: Cluster, { topic, partition }: Place, offset: number): Promise<void> {
    const partitions = [{ partitionIndex: partition, offset: BigInt(offset) }]
    await cluster.askLeader(
      { topic, partition },
      deleteRecordsV2.api,
      [{ name: topic, partitions }],
      5000,
    )
  }

  async remove(cluster: Cluster, queue: string): Promise<void> {
    await this.bind(queue, await this.topicsOf(queue), true)
    const { names } = this
    const topics = [names.queueTopic(queue), names.retryTopic(queue), names.deadTopic(queue)]
    await cluster
      .ask(
        deleteTopicsV6.api,
        topics.map((name) => ({ name, topicId: null })),
        10_000,
      )
      .catch((error: unknown) => {
        if (!codesIn(error).every((code) => code === codes.unknownTopic)) throw error
      })
    await cluster
      .askGroup(names.groupOf(queue), deleteGroupsV2.api, [names.groupOf(queue)])
      .catch((error: unknown) => {
        if (!codesIn(error).includes(codes.groupNotFound)) throw error
      })
    for (const topic of topics) cluster.forget(topic)
  }

  async #create(cluster: Cluster, { name, kind, partitions }: Wanted): Promise<void> {
    const { replicationFactor } = this.#settings
    const configs = Object.entries(configOf(kind, this.#settings))
    const topic = {
      name,
      numPartitions: partitions,
      replicationFactor,
      assignments: [],
      configs: configs.map(([key, value]) => ({ name: key, value })),
    }
    try {
      await cluster.ask(createTopicsV7.api, [topic], 10_000, false)
    } catch (error) {
      const found = codesIn(error)
      // Another process was faster.
      if (found.includes(codes.topicExists)) return
      const text = `topic '${name}' cannot be made: ${detailOf(error, this.#describe)}`
      if (found.includes(codes.invalidReplicationFactor)) throw invalid('replicationFactor', text)
      if (found.includes(codes.invalidConfig) || found.includes(44) || found.includes(17))
        throw invalid('topology', text)
      throw error
    }
  }

  async #untilThere(
    cluster: Cluster,
    names: readonly string[],
  ): Promise<ReadonlyMap<string, TopicInfo>> {
    const until = systemClock.monotonic() + LONGEST_MAKING_MS
    for (;;) {
      const found = await cluster.topics(names, true)
      const led = names.every((name) =>
        found.get(name)?.partitions.every(({ leader }) => leader >= 0),
      )
      if (led || systemClock.monotonic() > until) return found
      await systemClock.sleep(50)
    }
  }

  async #check(
    cluster: Cluster,
    wanted: readonly Wanted[],
    found: ReadonlyMap<string, TopicInfo>,
  ): Promise<void> {
    const configs = await this.configs(
      cluster,
      wanted.map(({ name }) => name),
    )
    for (const { name, kind, partitions } of wanted) {
      const info = found.get(name)
      if (info === undefined)
        throw new MersalError('MERSAL_UNAVAILABLE', `the topic '${name}' is not there yet`)
      if (info.partitions.length !== partitions)
        throw invalid(
          'partitions',
          `the topic '${name}' has ${info.partitions.length}, and not ${partitions}: set the option to that; with more of them, keys would change their partition and lose their order`,
        )
      const config = configs.get(name) ?? new Map()
      checkTopicSettings(name, kind, config, this.#settings)
      for (const text of risks(config, info.partitions[0]?.copies ?? 1))
        if (this.#isNews(`${name} ${text}`))
          this.#settings.logger.warn({ topic: name }, `kafka can lose messages: ${text}`)
    }
  }

  /** How long the coordinator waits for a silent member. */
  async #setGroup(cluster: Cluster, queue: string): Promise<void> {
    const { sessionTimeoutMs } = this.#settings
    const values = {
      'consumer.session.timeout.ms': sessionTimeoutMs,
      'consumer.heartbeat.interval.ms': Math.floor(Math.min(5000, sessionTimeoutMs / 3)),
    }
    const configs = Object.entries(values).map(([name, value]) => ({
      name,
      configOperation: SET,
      value: String(value),
    }))
    const resource = { resourceType: GROUP, resourceName: this.names.groupOf(queue), configs }
    try {
      await cluster.ask(incrementalAlterConfigsV1.api, [resource], false)
    } catch (error) {
      if (!codesIn(error).includes(codes.invalidConfig)) throw error
      throw invalid(
        'sessionTimeoutMs',
        `${detailOf(error, this.#describe)}: change group.consumer.min.session.timeout.ms and group.consumer.min.heartbeat.interval.ms of the brokers, or this option`,
      )
    }
  }
}
