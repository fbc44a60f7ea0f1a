import { describeConfigsV4, murmur2 } from '@platformatic/kafka'
import type { PublishOutcome } from '../../../core/transport.ts'
import { systemClock } from '../../../lib/async/clock.ts'
import { seldom } from '../../../lib/async/seldom.ts'
import { tooLarge } from '../../shared/outcomes.ts'
import type { Describe } from '../../shared/describe.ts'
import type { KafkaLink } from '../connection/cluster.ts'
import { ledPartitions, type TopicInfo } from '../connection/topic-info.ts'
import type { KafkaSettings } from '../options.ts'
import type { Answer } from './failure.ts'
import { Lane, type LanePorts, type Parcel } from './lane.ts'

const TOPIC = 2 as const
/** Messages without a key that go to one partition before the next one has its turn. */
const SPREAD = 16

/** As the clients of Kafka choose it for the same key. */
export function partitionOf(key: Buffer, partitions: number): number {
  return (murmur2(key) & 0x7fffffff) % partitions
}

/** The way into every partition. */
export class Producer {
  readonly #ports: LanePorts
  readonly #lanes = new Map<string, Lane>()
  readonly #turns = new Map<string, number>()

  constructor(link: KafkaLink, settings: KafkaSettings, describe: Describe) {
    const tooLargeFor = (topic: string, bytes: number): Promise<PublishOutcome> =>
      this.#tooLarge(link, topic, bytes)
    const { confirmTimeoutMs, logger } = settings
    const isNews = seldom(systemClock, 60_000)
    const clockIsOff = (topic: string): void =>
      logger[isNews('clock') ? 'warn' : 'debug'](
        { topic },
        'the broker refuses the time of this clock: records go without one; set the clock',
      )
    this.#ports = { link, describe, confirmTimeoutMs, tooLarge: tooLargeFor, clockIsOff }
  }

  lane(topic: string, partition: number): Lane {
    const key = `${topic} ${partition}`
    let lane = this.#lanes.get(key)
    if (lane === undefined) {
      lane = new Lane(this.#ports, { topic, partition })
      this.#lanes.set(key, lane)
    }
    return lane
  }

  /**
   * Partitions for messages without a key: neighbours go to halves of the partitions by turns,
   * since two consumers have one half each. Those without a leader are passed by.
   */
  turns(topic: string, info: TopicInfo): () => number {
    const led = ledPartitions(info)
    const partitions = led.length === 0 ? [...info.partitions.keys()] : led
    let taken = 0
    let turn = this.#turns.get(topic) ?? 0
    this.#turns.set(topic, turn + 1)
    return () => {
      if (taken++ === SPREAD) {
        taken = 1
        turn = this.#turns.get(topic) ?? 0
        this.#turns.set(topic, turn + 1)
      }
      const half = Math.ceil(partitions.length / 2)
      const at = turn % partitions.length
      return partitions[at % 2 === 0 ? at / 2 : half + (at - 1) / 2] as number
    }
  }

  /** One record, without anything around it. */
  send(parcel: Parcel): Promise<Answer> {
    return new Promise((resolve) => {
      this.lane(parcel.topic, parcel.partition).add(parcel, () => undefined, resolve)
    })
  }

  /** Rejects if it is not confirmed. */
  async store(parcel: Parcel): Promise<void> {
    const answer = await this.send(parcel)
    if (answer.kind === 'confirmed') return
    throw answer.kind === 'gone' ? new Error(`the topic '${parcel.topic}' is gone`) : answer.error
  }

  async #tooLarge(link: KafkaLink, topic: string, bytes: number): Promise<PublishOutcome> {
    const name = 'max.message.bytes'
    const resource = { resourceType: TOPIC, resourceName: topic, configurationKeys: [name] }
    try {
      const { connection } = await link.connection()
      const { results } = await connection.ask(describeConfigsV4.api, [resource], false, false)
      const limit = Number(results[0]?.configs.find((one) => one.name === name)?.value)
      if (limit > 0) return tooLarge(bytes, limit)
    } catch {
      // The user may lack the right to look; then the broker's answer is all that there is.
    }
    return { ...tooLarge(bytes, 0), error: withoutLimit(bytes) }
  }
}

function withoutLimit(bytes: number): Error {
  return new Error(`the message has ${bytes} bytes, and the broker takes none that is so large`)
}
