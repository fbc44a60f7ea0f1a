import type { OutgoingMessage } from '../../../core/messages/message.ts'
import { isName } from '../../../core/messages/validation.ts'
import type { PublishOptions, PublishOutcome } from '../../../core/transport.ts'
import { toError } from '../../../lib/async/abort.ts'
import { systemClock } from '../../../lib/async/clock.ts'
import { seldom } from '../../../lib/async/seldom.ts'
import {
  confirmed,
  keyOrder,
  refusedForGood,
  sizeOf,
  together,
  tooLarge,
  unavailable,
  unroutable,
  withdrawn,
} from '../../shared/outcomes.ts'
import type { OwnQueues } from '../../shared/own-queues.ts'
import { answeredOrStopped, type Stop, stopOn } from '../../shared/stop.ts'
import type { KafkaLink } from '../connection/cluster.ts'
import { ledPartitions } from '../connection/topic-info.ts'
import type { KafkaSettings } from '../options.ts'
import type { Topology } from '../topology/topology.ts'
import type { Answer } from './failure.ts'
import type { Lane } from './lane.ts'
import { partitionOf, type Producer } from './producer.ts'
import { toHeaders } from './wire.ts'

/** A message on its way: which lanes it takes, and what becomes of it. */
interface Under {
  readonly lanes: Promise<ReadonlySet<Lane>>
  readonly outcome: Promise<PublishOutcome>
}

/** What the messages of one call of `publish` have in common. */
interface Call {
  readonly stop: Stop | undefined
  readonly order: ReturnType<typeof keyOrder>
  /** The last message of each key. */
  readonly last: Map<string, Under>
  readonly subscribers: Map<string, Promise<readonly string[]>>
  readonly queues: Map<string, Promise<Open | undefined>>
  /** Whether a topic that the broker does not know may exist. */
  readonly doubts: Map<string, Promise<boolean>>
}

const GONE = 'the topic of a queue is gone'

/** The topic of a queue, as one call sees it. */
interface Open {
  readonly topic: string
  readonly partitions: number
  /** For messages without a key. */
  readonly turns: () => number
}

interface Target {
  readonly queue: string
  readonly topic: string
  readonly partition: number
  readonly lane: Lane
}

/** Puts messages into the topics of their queues, an event into the topic of each subscriber. */
export class Publisher {
  readonly #link: KafkaLink
  readonly #producer: Producer
  readonly #topology: Topology
  readonly #own: OwnQueues
  readonly #settings: KafkaSettings
  readonly #isNews = seldom(systemClock, 60_000)

  constructor(
    link: KafkaLink,
    producer: Producer,
    topology: Topology,
    own: OwnQueues,
    settings: KafkaSettings,
  ) {
    this.#link = link
    this.#producer = producer
    this.#topology = topology
    this.#own = own
    this.#settings = settings
  }

  publish(
    messages: readonly OutgoingMessage[],
    { signal, withdraw }: PublishOptions = {},
  ): readonly Promise<PublishOutcome>[] {
    const call: Call = {
      stop: stopOn(signal, withdraw),
      order: keyOrder(),
      last: new Map(),
      subscribers: new Map(),
      queues: new Map(),
      doubts: new Map(),
    }
    return messages.map((message) => {
      const { partitionKey } = message
      const earlier = partitionKey === undefined ? undefined : call.last.get(partitionKey)
      const under = this.#publish(message, earlier, call)
      if (partitionKey !== undefined) call.last.set(partitionKey, under)
      return under.outcome
    })
  }

  #publish(message: OutgoingMessage, earlier: Under | undefined, call: Call): Under {
    const lanes = Promise.withResolvers<ReadonlySet<Lane>>()
    const run = async (): Promise<PublishOutcome> => {
      const targets = await this.#route(message, call)
      if (!Array.isArray(targets)) return targets
      if (earlier !== undefined) await follows(earlier, targets)
      if (call.stop?.signal.aborted === true || call.stop?.withdraw?.signal.aborted === true)
        return withdrawn()
      const held = call.order.before(message)
      if (held !== undefined) return held
      const sent = targets.map((target) => this.#into(target, message, call))
      lanes.resolve(new Set(targets.map(({ lane }) => lane)))
      const taken = (await Promise.all(sent)).filter((answer) => answer !== undefined)
      if (taken.length > 0) return together(taken)
      return this.#nobody(
        message,
        targets.map(({ queue }) => queue),
      )
    }
    const outcome = run()
      .catch((error: unknown) => this.#away(toError(error)))
      .then((result) => {
        call.order.note(message, result)
        lanes.resolve(new Set())
        return result
      })
    return { lanes: lanes.promise, outcome }
  }

  /** Where it goes, or its answer if it goes nowhere. */
  async #route(message: OutgoingMessage, call: Call): Promise<Target[] | PublishOutcome> {
    const { maxMessageBytes } = this.#settings
    const bytes = sizeOf(message)
    if (bytes > maxMessageBytes) return tooLarge(bytes, maxMessageBytes)
    const { to } = message
    if (!isName(to.name))
      return refusedForGood(`'${to.kind}' has a name that no queue or topic can have`)
    // While a try waits, nothing waits for it: the relay probes, or comes when it is back.
    if (this.#link.down !== undefined) throw this.#link.down
    const queues = to.kind === 'queue' ? [to.name] : await this.#queuesOf(to.name, call)
    const found = await Promise.all(queues.map((queue) => this.#target(queue, message, call)))
    const targets: Target[] = []
    for (const target of found) {
      if (target === undefined) continue
      // Sent to none of them: it must not be confirmed without this one.
      if ('kind' in target) return target
      targets.push(target)
    }
    return targets.length === 0 ? this.#nobody(message, queues) : targets
  }

  /** Undefined if the queue is gone for certain. */
  async #target(
    queue: string,
    { to, partitionKey }: OutgoingMessage,
    call: Call,
  ): Promise<Target | PublishOutcome | undefined> {
    let looking = call.queues.get(queue)
    if (looking === undefined) {
      looking = this.#open(this.#topology.names.queueTopic(queue))
      call.queues.set(queue, looking)
    }
    const open = await looking
    if (open === undefined) return await this.#without(queue, to, call)
    const { topic, partitions, turns } = open
    const partition =
      partitionKey === undefined ? turns() : partitionOf(Buffer.from(partitionKey), partitions)
    return { queue, topic, partition, lane: this.#producer.lane(topic, partition) }
  }

  /** Undefined if the broker does not know the topic. */
  async #open(topic: string): Promise<Open | undefined> {
    const info = await this.#topology.ask('looking for a queue', async (cluster) => {
      const found = (await cluster.topics([topic])).get(topic)
      // They may have a leader again soon, and nobody else would look.
      if (found !== undefined && ledPartitions(found).length < found.partitions.length)
        cluster.forget(topic)
      return found
    })
    if (info === undefined) return undefined
    const turns = this.#producer.turns(topic, info)
    return { topic, partitions: info.partitions.length, turns }
  }

  #queuesOf(topic: string, { subscribers }: Call): Promise<readonly string[]> {
    const known = subscribers.get(topic)
    if (known !== undefined) return known
    const asked = this.#topology.queuesOf(topic)
    subscribers.set(topic, asked)
    return asked
  }

  /** Undefined if the queue is gone for certain. */
  async #into(
    { queue, topic, partition, lane }: Target,
    message: OutgoingMessage,
    call: Call,
  ): Promise<PublishOutcome | undefined> {
    const { order, stop } = call
    const { partitionKey, body, to } = message
    const parcel = {
      topic,
      partition,
      ...(partitionKey === undefined ? {} : { key: Buffer.from(partitionKey) }),
      headers: toHeaders(message),
      body,
    }
    const answer = await new Promise<Answer>((resolve) => {
      answeredOrStopped<Answer>(
        stop,
        (settle) => lane.add(parcel, () => order.before(message), settle),
        (given) => {
          // At once: the next message of the key may be taken in this turn.
          order.note(message, given.kind === 'gone' ? unavailable(GONE) : given)
          resolve(given)
        },
      )
    })
    if (answer.kind !== 'gone') return answer
    // Others may have it, so this must not reject.
    return await this.#without(queue, to, call).catch((error: unknown) =>
      this.#away(toError(error)),
    )
  }

  /**
   * What becomes of an event when the topic of a queue that wants it is missing: it waits if that
   * is ours, or may exist. Undefined if the queue is gone for certain.
   */
  async #without(
    queue: string,
    to: OutgoingMessage['to'],
    call: Call,
  ): Promise<PublishOutcome | undefined> {
    if (to.kind === 'queue') return undefined
    const back = this.#own.missing({ kind: 'queue', name: queue })
    if (back !== undefined)
      return { ...unavailable(`the queue '${queue}' is being made again`), back }
    const topic = this.#topology.names.queueTopic(queue)
    let doubt = call.doubts.get(topic)
    if (doubt === undefined) {
      doubt = this.#topology.mayExist(topic)
      call.doubts.set(topic, doubt)
    }
    if (await doubt) return unavailable(`the broker does not know '${topic}' yet`)
    this.#tellMissing(queue, to.name)
    return undefined
  }

  #tellMissing(queue: string, topic: string): void {
    const level = this.#isNews(queue) ? 'warn' : 'debug'
    this.#settings.logger[level](
      { queue, topic },
      'a queue is subscribed, and its topic is gone: start its app, or remove the queue',
    )
  }

  /**
   * No queue takes it. If one of ours is missing, that is no fault of the message. `wanted`: those
   * that are subscribed and gone; what somebody wants is not discarded.
   */
  #nobody({ to }: OutgoingMessage, wanted: readonly string[]): PublishOutcome {
    const back = this.#own.missing(to)
    if (back !== undefined)
      return { ...unavailable(`the queue for ${to.kind} '${to.name}' is being made again`), back }
    const isDiscarded = to.kind === 'topic' && wanted.length === 0
    return isDiscarded && this.#settings.discardUnroutedEvents ? confirmed : unroutable(to)
  }

  #away(error: Error): PublishOutcome {
    const { back } = this.#link
    return { ...unavailable(error.message), error, ...(back === undefined ? {} : { back }) }
  }
}

/**
 * Resolves when this may be handed over behind the earlier message of its key: at once if it takes
 * every lane that the other one took, since nothing overtakes in a lane.
 */
async function follows(earlier: Under, targets: readonly Target[]): Promise<void> {
  const lanes = await earlier.lanes
  const mine = new Set(targets.map(({ lane }) => lane))
  for (const lane of lanes)
    if (!mine.has(lane)) {
      await earlier.outcome
      return
    }
}
