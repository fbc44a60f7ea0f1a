import { MersalError } from '../../core/errors/errors.ts'
import { type EventType, mainTransport } from '../../core/messages/message.ts'
import type { Transport } from '../../core/transport.ts'
import { Mutex } from '../../lib/async/mutex.ts'
import type { Handlers } from './handlers.ts'
import { checkMessageType } from '../send/messages.ts'
import { type RoutingFacts, topicOf } from '../send/routing.ts'

export interface SubscriptionPorts {
  /** Name of the input queue; undefined for an app that only sends. */
  readonly queue: string | undefined
  readonly transports: ReadonlyMap<string, Transport>
  readonly routing: RoutingFacts
  readonly handlers: Pick<Handlers<never>, 'events'>
}

/**
 * Which topics deliver into the input queue. Before the start, changes are noted. After it, each
 * change is made at once.
 */
export class Subscriptions {
  readonly #ports: SubscriptionPorts
  /** What the user asked for, by the name of the event. It wins over the handlers. */
  readonly #asked = new Map<
    string,
    { readonly type: EventType<unknown>; readonly wanted: boolean }
  >()
  readonly #mutex = new Mutex()
  #declared = false

  constructor(ports: SubscriptionPorts) {
    this.#ports = ports
  }

  /**
   * Names of the transports on which something is declared. The input queue is read from the main
   * one and from those that a subscribed event comes from; from the others only topics are taken
   * back.
   */
  places(): readonly { readonly transport: string; readonly read: boolean }[] {
    const read = [...this.#topics(true).keys()]
    const others = [...this.#topics(false).keys()].filter((name) => !read.includes(name))
    return [
      ...read.map((transport) => ({ transport, read: true })),
      ...others.map((transport) => ({ transport, read: false })),
    ]
  }

  async change(call: string, type: EventType<unknown>, wanted: boolean): Promise<void> {
    checkMessageType(call, type, 'event')
    const { queue, routing } = this.#ports
    if (queue === undefined)
      throw new MersalError(
        'MERSAL_INVALID_OPTIONS',
        `${call}: this app only sends and has no input queue`,
      )
    const topic = topicOf(routing, type)
    this.#asked.set(type.name, { type, wanted })
    if (!this.#declared) return
    // Not in the middle of a declaration that is repeated because the broker was away: the later
    // call wins.
    await this.#mutex.run(() =>
      this.#transport(topic.transport).subscribe(
        queue,
        [topic.name],
        wanted ? {} : { remove: true },
      ),
    )
  }

  /**
   * Declares the input queue with its topics on one transport, and takes back the ones that are no
   * longer wanted. May be repeated.
   */
  async declare(transport: string): Promise<void> {
    const { queue } = this.#ports
    if (queue === undefined) return
    this.#declared = true
    await this.#mutex.run(async () => {
      const wanted = this.#topics(true).get(transport)
      const unwanted = this.#topics(false).get(transport) ?? []
      if (wanted !== undefined) await this.#transport(transport).subscribe(queue, wanted)
      if (unwanted.length > 0)
        await this.#transport(transport).subscribe(queue, unwanted, { remove: true })
    })
  }

  /**
   * Topics of this transport that deliver into the input queue although this app does not want
   * them. Empty if the transport does not know.
   */
  async unwanted(transport: string): Promise<readonly string[]> {
    const { queue } = this.#ports
    if (queue === undefined) return []
    const wanted = this.#topics(true).get(transport) ?? []
    return ((await this.#transport(transport).topicsOf?.(queue)) ?? []).filter(
      (topic) => !wanted.includes(topic),
    )
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
    const asked = [...this.#asked.values()]
      .filter((entry) => entry.wanted === wanted)
      .map((entry) => entry.type)
    if (!wanted) return asked
    return [
      ...asked,
      ...this.#ports.handlers.events().filter((type) => !this.#asked.has(type.name)),
    ]
  }

  #transport(name: string): Transport {
    return this.#ports.transports.get(name) as Transport
  }
}
