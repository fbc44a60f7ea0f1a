import { MersalError } from '../core/errors.ts'
import type { EventType } from '../core/message.ts'
import type { Transport } from '../core/transport.ts'
import type { Handlers } from './handlers.ts'
import { checkMessageType } from './messages.ts'
import { type RoutingFacts, mainTransport, topicOf } from './routing.ts'

export interface SubscriptionPorts {
  /** Name of the input queue; undefined for an app that only sends. */
  readonly queue: string | undefined
  readonly transports: ReadonlyMap<string, Transport>
  readonly routing: RoutingFacts
  readonly handlers: Pick<Handlers<never>, 'events'>
}

/** Which topics deliver into the input queue. Before the start they are noted; from then on each change is made at once. */
export class Subscriptions {
  readonly #ports: SubscriptionPorts
  /** Wanted (true) or not (false), by topic; the asked-for wins over the handlers. */
  readonly #asked = new Map<string, { readonly type: EventType<unknown>; readonly wanted: boolean }>()
  #declared = false

  constructor(ports: SubscriptionPorts) {
    this.#ports = ports
  }

  /** Transports that the input queue is read from: the main one, and those that a subscribed event comes from. */
  inputs(): readonly Transport[] {
    return [...this.#topics(true).keys()].map((name) => this.#transport(name))
  }

  async change(call: string, type: EventType<unknown>, wanted: boolean): Promise<void> {
    checkMessageType(call, type, 'event')
    const { queue, routing } = this.#ports
    if (queue === undefined) throw new MersalError('MERSAL_INVALID_OPTIONS', `${call}: this app only sends and has no input queue`)
    const topic = topicOf(routing, type)
    this.#asked.set(type.name, { type, wanted })
    if (!this.#declared) return
    await this.#transport(topic.transport).subscribe(queue, [topic.name], wanted ? {} : { remove: true })
  }

  /** Declares the input queue with its topics, and takes back the ones that are no longer wanted. */
  async declare(): Promise<void> {
    const { queue } = this.#ports
    if (queue === undefined) return
    this.#declared = true
    for (const [name, topics] of this.#topics(true)) await this.#transport(name).subscribe(queue, topics)
    for (const [name, topics] of this.#topics(false)) {
      if (topics.length > 0) await this.#transport(name).subscribe(queue, topics, { remove: true })
    }
  }

  /** Topics by the name of their transport. */
  #topics(wanted: boolean): ReadonlyMap<string, string[]> {
    const topics = new Map<string, string[]>()
    if (this.#ports.queue === undefined) return topics
    topics.set(mainTransport, [])
    for (const type of this.#subscribed(wanted)) {
      const topic = topicOf(this.#ports.routing, type)
      topics.set(topic.transport, [...(topics.get(topic.transport) ?? []), topic.name])
    }
    return topics
  }

  #subscribed(wanted: boolean): readonly EventType<unknown>[] {
    const asked = [...this.#asked.values()].filter((entry) => entry.wanted === wanted).map((entry) => entry.type)
    if (!wanted) return asked
    return [...asked, ...this.#ports.handlers.events().filter((type) => !this.#asked.has(type.name))]
  }

  #transport(name: string): Transport {
    return this.#ports.transports.get(name) as Transport
  }
}
