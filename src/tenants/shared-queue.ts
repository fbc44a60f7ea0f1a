import type { Consumption, Delivery, Disposition, OnTrouble, Transport } from '../core/transport.ts'
import { type InFlight, inFlight } from '../lib/async/in-flight.ts'

type OnDelivery = (delivery: Delivery) => Promise<Disposition>

/** What an app of one tenant does with deliveries. */
interface Member {
  readonly onDelivery: OnDelivery
  readonly onTrouble: OnTrouble | undefined
  readonly inHand: InFlight
}

export interface SharedQueuePorts {
  readonly transport: Transport
  /** The input queue of all tenants. */
  readonly queue: string
  /** Deliveries in hand at one time, of all tenants together. */
  readonly concurrency: number
  /** Decides on each delivery. */
  readonly onDelivery: OnDelivery
}

/**
 * One input queue for the apps of all tenants, on one transport. It is read once; each app believes
 * that it has a transport of its own.
 */
export class SharedQueue {
  readonly #ports: SharedQueuePorts
  readonly #members = new Map<string, Member>()
  /** Declarations that were made, or are under way, by their topics. */
  readonly #declared = new Map<string, Promise<void>>()
  #consuming: Promise<AsyncDisposable> | undefined
  #told = false

  constructor(ports: SharedQueuePorts) {
    this.#ports = ports
  }

  /** Hands the delivery to the app of this tenant; undefined if that does not receive. */
  hand(tenant: string, delivery: Delivery): Promise<Disposition> | undefined {
    const member = this.#members.get(tenant)
    return member?.inHand.run(() => member.onDelivery(delivery))
  }

  /** No new deliveries. Resolves when those in hand are settled. */
  async stop(): Promise<void> {
    const consumer = await this.#consuming?.catch(() => undefined)
    await consumer?.[Symbol.asyncDispose]()
  }

  /** The transport as the app of this tenant sees it. Closing it closes nothing that is shared. */
  for(tenant: string): Transport {
    const { transport, queue } = this.#ports
    const { name, features, straight, operations } = transport
    // One app tells what comes into the queue unasked; the others would tell the same.
    const first = !this.#told
    this.#told = true
    return {
      name,
      features,
      ...(straight === undefined ? {} : { straight }),
      ...(operations === undefined ? {} : { operations }),
      ...(first && transport.topicsOf !== undefined
        ? { topicsOf: (asked: string) => transport.topicsOf!(asked) }
        : {}),
      publish: (messages, options) => transport.publish(messages, options),
      subscribe: (asked, topics, { remove = false } = {}) =>
        asked === queue ? this.#subscribe(topics, remove) : transport.subscribe(asked, topics),
      async removeQueue(asked) {
        if (asked === queue) return { kind: 'kept', why: 'it belongs to all tenants' }
        return (
          (await transport.removeQueue?.(asked)) ?? { kind: 'kept', why: 'it cannot be removed' }
        )
      },
      consume: (consumption, onDelivery) =>
        consumption.queue === queue
          ? this.#join(tenant, consumption, onDelivery)
          : transport.consume(consumption, onDelivery),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    }
  }

  /** Each app declares the same; once is enough. */
  #subscribe(topics: readonly string[], remove: boolean): Promise<void> {
    const { transport, queue } = this.#ports
    if (remove) {
      this.#declared.clear()
      return transport.subscribe(queue, topics, { remove })
    }
    const key = JSON.stringify(topics)
    const before = this.#declared.get(key)
    if (before !== undefined) return before
    const declaring = transport.subscribe(queue, topics).catch((error: unknown) => {
      this.#declared.delete(key)
      throw error
    })
    this.#declared.set(key, declaring)
    return declaring
  }

  async #join(
    tenant: string,
    consumption: Consumption,
    onDelivery: OnDelivery,
  ): Promise<AsyncDisposable> {
    const member = { onDelivery, onTrouble: consumption.onTrouble, inHand: inFlight() }
    this.#members.set(tenant, member)
    const leave = (): void => {
      if (this.#members.get(tenant) === member) this.#members.delete(tenant)
    }
    try {
      await this.#consume(consumption)
    } catch (error) {
      leave()
      throw error
    }
    return {
      async [Symbol.asyncDispose]() {
        leave()
        await member.inHand.idle()
      },
    }
  }

  /** The first one begins to read the queue. A failure is tried again by whoever comes next. */
  #consume(consumption: Consumption): Promise<AsyncDisposable> {
    if (this.#consuming !== undefined) return this.#consuming
    const { transport, concurrency, onDelivery } = this.#ports
    const onTrouble: OnTrouble = (error) => {
      for (const member of this.#members.values()) member.onTrouble?.(error)
    }
    const consuming = transport.consume({ ...consumption, concurrency, onTrouble }, onDelivery)
    this.#consuming = consuming
    consuming.catch(() => (this.#consuming = undefined))
    return consuming
  }
}
