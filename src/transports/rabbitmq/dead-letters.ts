import type { Channel, GetMessage } from 'amqplib'
import type { DeadLetter, DeadLetterBox, DeadReason } from '../../core/dead-letter.ts'
import { checkNumber } from '../../core/options.ts'
import { attemptOf, contentKey, copyProperties, type HeaderTable, headerTable, numberIn, ownHeaders, toEnvelope } from './envelope.ts'
import { systemClock } from '../../lib/clock.ts'
import type { Link } from './link.ts'
import type { Publisher } from './publisher.ts'
import { membersOf } from './opened.ts'
import { deadQueueOf } from './topology.ts'

const reasons: ReadonlySet<string> = new Set<DeadReason>([
  'refused',
  'unroutable',
  'too-large',
  'kills-relay',
  'kills-handler',
  'undecodable',
  'malformed',
  'unknown-type',
  'invalid',
  'rejected',
  'handler-failed',
  'postponed-too-long',
])

/** A visit touches every dead letter of a queue, so it may take longer than other calls. */
const LONGEST_VISIT_MS = 300_000

/** The broker moved it itself: its delivery limit was reached, or a foreign consumer rejected it. */
function brokerReason(message: GetMessage): string {
  const death = message.properties.headers?.['x-first-death-reason']
  return `RabbitMQ gave the message up itself (${typeof death === 'string' ? death : 'for an unknown reason'})`
}

/** What the broker moved itself carries no key of ours; then its content stands for it, and equal messages share a key. */
function keyOf(queue: string, message: GetMessage): string {
  const own = headerTable(message)[ownHeaders.deadKey]
  if (typeof own === 'string' && own.length <= 64) return `${queue}/${own}`
  return `${queue}/${contentKey(message.properties.messageId, message.content)}`
}

function toDeadLetter(queue: string, message: GetMessage): DeadLetter {
  const headers = headerTable(message)
  const reason = headers[ownHeaders.reason]
  const known = typeof reason === 'string' && reasons.has(reason)
  const error = headers[ownHeaders.error]
  return {
    ...toEnvelope(message),
    key: keyOf(queue, message),
    direction: 'incoming',
    place: queue,
    reason: known ? (reason as DeadReason) : 'kills-handler',
    error: typeof error === 'string' ? error.slice(0, 2000) : brokerReason(message),
    attempts: numberIn(headers, ownHeaders.attempts, 0, attemptOf(message)),
    diedAt: numberIn(headers, ownHeaders.diedAt, 0, 0),
    maybePublished: false,
    blocksKey: false,
  }
}

/** A bundle that was given up as a whole stands for its messages. */
function lettersIn(message: GetMessage): readonly GetMessage[] {
  const { [ownHeaders.reason]: reason, [ownHeaders.error]: error, [ownHeaders.diedAt]: diedAt, ...rest } = headerTable(message)
  const own = {
    ...(reason === undefined ? {} : { [ownHeaders.reason]: reason }),
    ...(diedAt === undefined ? {} : { [ownHeaders.diedAt]: diedAt }),
    [ownHeaders.error]: error ?? brokerReason(message),
    [ownHeaders.attempts]: numberIn(rest, ownHeaders.attempts, 0, attemptOf(message)),
  }
  return membersOf(message, own) ?? [message]
}

type Seen = 'seen' | 'removed' | 'stop'
type Visit = (queue: string, message: GetMessage, channel: Channel) => Promise<Seen>

/**
 * The dead letters of queues. RabbitMQ cannot look into a queue, so they are fetched without being
 * acknowledged, and given back in their order when the channel is closed. While one call looks,
 * another one does not see what the first has fetched.
 */
export class RabbitDeadLetters implements DeadLetterBox {
  readonly #link: Link
  readonly #publisher: Publisher
  readonly #queues: () => readonly string[]

  constructor(link: Link, publisher: Publisher, queues: () => readonly string[]) {
    this.#link = link
    this.#publisher = publisher
    this.#queues = queues
  }

  async list(query: { readonly limit?: number; readonly after?: string } = {}): Promise<readonly DeadLetter[]> {
    const limit = checkNumber('limit', query.limit, { default: 100, min: 1, max: 1000 })
    const letters: DeadLetter[] = []
    let begun = query.after === undefined
    // A letter that the broker did not confirm was put there again.
    const seen = new Set<string>()
    await this.#visit(async (queue, message) => {
      for (const letter of lettersIn(message)) {
        const key = keyOf(queue, letter)
        if (seen.has(key)) continue
        seen.add(key)
        if (begun) letters.push(toDeadLetter(queue, letter))
        else begun = key === query.after
        if (letters.length === limit) return 'stop'
      }
      return 'seen'
    })
    return letters
  }

  async retry(keys: readonly string[]): Promise<number> {
    return this.#remove(keys, (queue, message) => this.#put(queue, message, {}))
  }

  async discard(keys: readonly string[]): Promise<number> {
    return this.#remove(keys, async () => {})
  }

  async #remove(keys: readonly string[], before: (queue: string, message: GetMessage) => Promise<void>): Promise<number> {
    const wanted = new Set(keys)
    const removed = new Set<string>()
    if (wanted.size === 0) return 0
    const once = async (queue: string, letter: GetMessage): Promise<void> => {
      const key = keyOf(queue, letter)
      if (!removed.has(key)) await before(queue, letter)
      removed.add(key)
    }
    await this.#visit(async (queue, message, channel) => {
      const letters = lettersIn(message)
      const mine = letters.filter((letter) => wanted.has(keyOf(queue, letter)))
      if (mine.length === 0) return 'seen'
      // The others of a bundle stay, each by itself.
      for (const letter of letters) {
        if (mine.includes(letter)) await once(queue, letter)
        else await this.#put(deadQueueOf(queue), letter, headerTable(letter))
      }
      channel.ack(message)
      return 'removed'
    })
    return removed.size
  }

  async #put(queue: string, message: GetMessage, headers: HeaderTable): Promise<void> {
    const parcel = { exchange: '', routingKey: queue, content: message.content, properties: copyProperties(message, headers) }
    const outcome = await this.#publisher.send(parcel)
    if (outcome.kind !== 'confirmed') throw outcome.error
  }

  async #visit(visit: Visit): Promise<void> {
    for (const queue of this.#queues()) {
      // Closing the channel also makes sure that the broker has seen every acknowledgement.
      const result = await this.#link.withChannel((channel) => this.#visitQueue(queue, channel, visit), LONGEST_VISIT_MS)
      if (result === 'stop') return
    }
  }

  async #visitQueue(queue: string, channel: Channel, visit: Visit): Promise<Seen> {
    const name = deadQueueOf(queue)
    const { messageCount } = await channel.checkQueue(name)
    let result: Seen = 'seen'
    let left = messageCount
    let held = 0
    try {
      for (let seen = 0; seen < messageCount && result !== 'stop'; seen++) {
        const message = await channel.get(name, { noAck: false })
        if (message === false) break
        left = message.fields.messageCount
        held++
        result = await visit(queue, message, channel)
        if (result === 'removed') held--
      }
    } finally {
      if (held > 0) await this.#giveBack(name, channel, left + held)
    }
    return result
  }

  /**
   * The broker gives messages back some time after it was told to; waits for it, so that the next
   * look sees them. Not for ever: another tool may have taken them meanwhile.
   */
  async #giveBack(name: string, channel: Channel, expected: number): Promise<void> {
    channel.nackAll(true)
    for (let turn = 0; turn < 50; turn++) {
      const { messageCount } = await channel.checkQueue(name)
      if (messageCount >= expected) return
      await systemClock.sleep(20)
    }
  }
}
