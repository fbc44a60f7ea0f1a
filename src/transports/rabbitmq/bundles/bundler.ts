import { randomUUID } from 'node:crypto'
import type { OutgoingMessage } from '../../../core/messages/message.ts'
import type { PublishOutcome } from '../../../core/transport.ts'
import {
  BUNDLE_CONTENT_TYPE,
  BUNDLE_TYPE,
  bytesInBundle,
  EMPTY_BUNDLE_BYTES,
  encodeBundle,
} from './bundle-format.ts'
import { unavailable } from '../../shared/outcomes.ts'
import type { BundleSettings } from './bundle-options.ts'
import type { Publisher } from '../publish/publisher.ts'
import type { Stop } from '../../shared/stop.ts'

type Publishing = Pick<Publisher, 'one' | 'deliver' | 'problem' | 'brokerLimit' | 'together'>

/** Messages to one destination that have been collected for one bundle. */
interface Collection {
  readonly messages: OutgoingMessage[]
  /** Where the answers stand in the call. */
  readonly indexes: number[]
  readonly sizes: number[]
  bytes: number
}

function collection(): Collection {
  return { messages: [], indexes: [], sizes: [], bytes: EMPTY_BUNDLE_BYTES }
}

function add(to: Collection, message: OutgoingMessage, index: number, size: number): void {
  to.messages.push(message)
  to.indexes.push(index)
  to.sizes.push(size)
  to.bytes += size
}

/**
 * Takes the last messages of one key out into a collection of their own: they must stay together.
 */
function splitAtKey(from: Collection, key: string | undefined): Collection {
  const rest = collection()
  let first = from.messages.length
  if (key !== undefined) while (first > 0 && from.messages[first - 1]?.partitionKey === key) first--
  if (first === 0) return rest
  for (let at = first; at < from.messages.length; at++) {
    const size = from.sizes[at] as number
    add(rest, from.messages[at] as OutgoingMessage, from.indexes[at] as number, size)
    from.bytes -= size
  }
  for (const list of [from.messages, from.indexes, from.sizes]) list.length = first
  return rest
}

/** Bundles the messages of one call by their destination. Nothing waits for a later call. */
export class Bundler {
  readonly #publisher: Publishing
  readonly #settings: BundleSettings

  constructor(publisher: Publishing, settings: BundleSettings) {
    this.#publisher = publisher
    this.#settings = settings
  }

  publish(
    messages: readonly OutgoingMessage[],
    stop: Stop | undefined,
  ): readonly Promise<PublishOutcome>[] {
    return this.#publisher.together(messages.length, () => this.#bundled(messages, stop))
  }

  #bundled(
    messages: readonly OutgoingMessage[],
    stop: Stop | undefined,
  ): readonly Promise<PublishOutcome>[] {
    const answers: Promise<PublishOutcome>[] = []
    const open = new Map<string, Collection>()
    const send = (ready: Collection): void => this.#send(ready, stop, answers)
    messages.forEach((message, index) => {
      const size = this.#sizeOf(message)
      if (size === undefined) {
        answers[index] = this.#publisher.one(message, stop)
        return
      }
      const place = `${message.to.kind}/${message.to.name}`
      let current = open.get(place) ?? collection()
      if (current.messages.length > 0 && !this.#hasRoom(current, size)) {
        const rest = splitAtKey(current, message.partitionKey)
        send(current)
        current = rest
        // A run of one key that is longer than a bundle: nobody promised that it stays together.
        if (!this.#hasRoom(rest, size)) {
          send(rest)
          current = collection()
        }
      }
      add(current, message, index, size)
      open.set(place, current)
    })
    for (const rest of open.values()) send(rest)
    return answers
  }

  /**
   * How many of these messages of one key go into one bundle, if they come in one call. At least 1.
   */
  together(messages: readonly OutgoingMessage[]): number {
    const [first] = messages
    let bytes = EMPTY_BUNDLE_BYTES
    let count = 0
    for (const message of messages) {
      if (
        count === this.#settings.messages ||
        message.to.kind !== first?.to.kind ||
        message.to.name !== first.to.name
      )
        break
      const size = this.#sizeOf(message)
      if (size === undefined || bytes + size > this.#limit) break
      bytes += size
      count++
    }
    return Math.max(1, count)
  }

  get #limit(): number {
    return Math.min(this.#settings.bytes, this.#publisher.brokerLimit)
  }

  #hasRoom({ messages, bytes }: Collection, size: number): boolean {
    return messages.length < this.#settings.messages && bytes + size <= this.#limit
  }

  /**
   * Undefined for what travels alone: it may not be bundled, has no room in any bundle, or is
   * refused anyway.
   */
  #sizeOf(message: OutgoingMessage): number | undefined {
    if (message.to.kind === 'topic' && !this.#settings.events) return undefined
    const size = bytesInBundle(message)
    if (size === undefined || EMPTY_BUNDLE_BYTES + size > this.#limit) return undefined
    return this.#publisher.problem(message) === undefined ? size : undefined
  }

  #send(
    { messages, indexes, bytes }: Collection,
    stop: Stop | undefined,
    answers: Promise<PublishOutcome>[],
  ): void {
    const [first] = messages
    if (first === undefined) return
    if (messages.length === 1) {
      answers[indexes[0] as number] = this.#publisher.one(first, stop)
      return
    }
    const properties = {
      messageId: randomUUID(),
      type: BUNDLE_TYPE,
      contentType: BUNDLE_CONTENT_TYPE,
    }
    const answer = this.#publisher.deliver(
      first.to,
      { content: encodeBundle(messages, bytes), properties },
      stop,
    )
    let alone: readonly Promise<PublishOutcome>[] | undefined
    indexes.forEach((index, at) => {
      answers[index] = answer.then((outcome) => {
        if (!mayBeTheFaultOfOne(outcome)) return outcome
        alone ??= this.#eachAlone(messages, stop)
        return alone[at] as Promise<PublishOutcome>
      })
    })
  }

  /**
   * So that none is refused because of its neighbours. Of one key, the next one goes only when the
   * one before it is confirmed.
   */
  #eachAlone(
    messages: readonly OutgoingMessage[],
    stop: Stop | undefined,
  ): readonly Promise<PublishOutcome>[] {
    const lastOfKey = new Map<string, Promise<PublishOutcome>>()
    return messages.map((message) => {
      const { partitionKey: key } = message
      const before = key === undefined ? undefined : lastOfKey.get(key)
      const answer =
        before === undefined
          ? this.#publisher.one(message, stop)
          : before.then((outcome) =>
              outcome.kind === 'confirmed' ? this.#publisher.one(message, stop) : notSent(),
            )
      if (key !== undefined) lastOfKey.set(key, answer)
      return answer
    })
  }
}

/** No queue takes it: that is so for every message to this destination, whatever is in it. */
function mayBeTheFaultOfOne(outcome: PublishOutcome): boolean {
  return outcome.kind === 'refused' && outcome.reason !== 'unroutable'
}

const notSent = (): PublishOutcome =>
  unavailable('not sent: an earlier message of its key was not confirmed')
