import { randomUUID } from 'node:crypto'
import type { GetMessage } from 'amqplib'
import {
  type DeadLetter,
  type DeadLetterBox,
  type DeadLetterFate,
  type DeadLetterPass,
  isDeadReason,
} from '../../../core/dead-letter.ts'
import { attemptsOf } from '../../../core/errors/attempts.ts'
import { checkNumber } from '../../../core/options.ts'
import type { PublishOutcome } from '../../../core/transport.ts'
import {
  attemptOf,
  contentKey,
  copyProperties,
  type HeaderTable,
  headerTable,
  numberIn,
  ownHeaders,
  toEnvelope,
} from '../publish/envelope.ts'
import { passOver, type Verdict } from './dead-letter-pass.ts'
import { doesNotFit } from './slimmer.ts'
import { type RabbitLink, withChannel } from '../connection/client.ts'
import type { Publisher } from '../publish/publisher.ts'
import { membersOf } from '../connection/opened.ts'
import { deadQueueOf } from '../topology/topology.ts'

/**
 * A pass touches every dead letter of a queue. Each answer in it has a limit of its own; this is
 * the longest timer that Node has.
 */
const LONGEST_PASS_MS = 2 ** 31 - 1

/**
 * The broker moved it itself: its delivery limit was reached, or a foreign consumer rejected it.
 */
function brokerReason(message: GetMessage): string {
  const death = message.properties.headers?.['x-first-death-reason']
  return `RabbitMQ gave the message up itself (${typeof death === 'string' ? death : 'for an unknown reason'})`
}

/**
 * What the broker moved itself carries no key of ours; then its content stands for it, and equal
 * messages share a key.
 */
function keyOf(queue: string, message: GetMessage): string {
  const own = headerTable(message)[ownHeaders.deadKey]
  if (typeof own === 'string' && own.length <= 64) return `${queue}/${own}`
  return `${queue}/${contentKey(message.properties.messageId, message.content)}`
}

function toDeadLetter(queue: string, message: GetMessage): DeadLetter {
  const headers = headerTable(message)
  const reason = headers[ownHeaders.reason]
  const error = headers[ownHeaders.error]
  return {
    ...toEnvelope(message),
    key: keyOf(queue, message),
    direction: 'incoming',
    place: queue,
    reason: isDeadReason(reason) ? reason : 'kills-handler',
    error: typeof error === 'string' ? error.slice(0, 2000) : brokerReason(message),
    attempts: numberIn(headers, ownHeaders.attempts, 0, attemptOf(message)),
    history: attemptsOf(headers[ownHeaders.history]),
    diedAt: numberIn(headers, ownHeaders.diedAt, 0, 0),
    maybePublished: false,
    blocksKey: false,
  }
}

/** A bundle that was given up as a whole stands for its messages. */
function lettersIn(message: GetMessage): readonly GetMessage[] {
  const {
    [ownHeaders.reason]: reason,
    [ownHeaders.error]: error,
    [ownHeaders.diedAt]: diedAt,
    ...rest
  } = headerTable(message)
  const own = {
    ...(reason === undefined ? {} : { [ownHeaders.reason]: reason }),
    ...(diedAt === undefined ? {} : { [ownHeaders.diedAt]: diedAt }),
    [ownHeaders.error]: error ?? brokerReason(message),
    [ownHeaders.attempts]: numberIn(rest, ownHeaders.attempts, 0, attemptOf(message)),
  }
  return membersOf(message, own) ?? [message]
}

/**
 * The dead letters of queues. RabbitMQ cannot look into a queue, so they are fetched without being
 * acknowledged, and given back in their order when the channel is closed. While one call looks,
 * another one does not see what the first has fetched.
 */
export class RabbitDeadLetters implements DeadLetterBox {
  readonly #link: RabbitLink
  readonly #publisher: Publisher
  readonly #queues: () => readonly string[]

  constructor(link: RabbitLink, publisher: Publisher, queues: () => readonly string[]) {
    this.#link = link
    this.#publisher = publisher
    this.#queues = queues
  }

  async list(
    query: { readonly limit?: number; readonly after?: string } = {},
  ): Promise<readonly DeadLetter[]> {
    const limit = checkNumber('limit', query.limit, { default: 100, min: 1, max: 1000 })
    const letters: DeadLetter[] = []
    let begun = query.after === undefined
    const decide = (letter: DeadLetter): DeadLetterFate => {
      if (begun) letters.push(letter)
      else begun = letter.key === query.after
      return letters.length >= limit ? 'stop' : 'keep'
    }
    await this.pass({ decide })
    return letters
  }

  retry(keys: readonly string[]): Promise<number> {
    return this.#change(keys, 'retry')
  }

  discard(keys: readonly string[]): Promise<number> {
    return this.#change(keys, 'discard')
  }

  async #change(keys: readonly string[], fate: 'retry' | 'discard'): Promise<number> {
    const wanted = new Set(keys)
    let changed = 0
    if (wanted.size > 0)
      await this.pass({
        decide: ({ key }) => (wanted.has(key) ? fate : 'keep'),
        progress: (count) => void (changed = count),
      })
    return changed
  }

  async pass({ decide, progress = () => {} }: DeadLetterPass): Promise<void> {
    let changed = 0
    for (const queue of this.#queues()) {
      const once = decideOnce(decide)
      const judge = async (message: GetMessage): Promise<Verdict> => {
        const { kept, retried, discarded, copies, stop } = await this.#judge(queue, message, once)
        const mine = retried.length + discarded
        if (mine + copies === 0) return { stop }
        // The others of a bundle stay, each by itself.
        const moved = [
          ...retried.map((letter) => this.#putBack(queue, letter)),
          ...kept.map((letter) => this.#put(deadQueueOf(queue), letter, headerTable(letter))),
        ]
        return { stop, done: Promise.all(moved).then(() => progress((changed += mine))) }
      }
      // Closing the channel also makes sure that the broker has seen every acknowledgement.
      if (
        await withChannel(
          this.#link,
          (channel) => passOver(channel, deadQueueOf(queue), judge),
          LONGEST_PASS_MS,
        )
      )
        return
    }
  }

  async #judge(queue: string, message: GetMessage, decide: DecideOnce): Promise<Fates> {
    const kept: GetMessage[] = []
    const retried: GetMessage[] = []
    let discarded = 0
    let copies = 0
    let stop = false
    for (const letter of lettersIn(message)) {
      const fate: DeadLetterFate | 'copy' = stop
        ? 'keep'
        : await decide(toDeadLetter(queue, letter))
      if (fate === 'retry') retried.push(letter)
      else if (fate === 'discard') discarded++
      else if (fate === 'copy') copies++
      else kept.push(letter)
      stop ||= fate === 'stop'
    }
    return { kept, retried, discarded, copies, stop }
  }

  /** With a mark that tells it from what was known before it was given up, if there is room. */
  async #putBack(queue: string, message: GetMessage): Promise<void> {
    const marked = await this.#send(queue, message, { [ownHeaders.lineage]: randomUUID() })
    if (doesNotFit(marked)) await this.#put(queue, message, {})
    else if (marked.kind !== 'confirmed') throw marked.error
  }

  async #put(queue: string, message: GetMessage, headers: HeaderTable): Promise<void> {
    const outcome = await this.#send(queue, message, headers)
    if (outcome.kind !== 'confirmed') throw outcome.error
  }

  #send(queue: string, message: GetMessage, headers: HeaderTable): Promise<PublishOutcome> {
    return this.#publisher.send({
      exchange: '',
      routingKey: queue,
      content: message.content,
      properties: copyProperties(message, headers),
    })
  }
}

/** What becomes of the letters of one message. */
interface Fates {
  readonly kept: readonly GetMessage[]
  readonly retried: readonly GetMessage[]
  readonly discarded: number
  /** Of letters that have been retried or discarded: they go with these. */
  readonly copies: number
  readonly stop: boolean
}

type DecideOnce = (letter: DeadLetter) => Promise<DeadLetterFate | 'copy'>

/**
 * A letter that the broker did not confirm was put there again: its copies share its fate, and are
 * not asked about.
 */
function decideOnce(decide: DeadLetterPass['decide']): DecideOnce {
  const fates = new Map<string, DeadLetterFate>()
  return async (letter) => {
    const known = fates.get(letter.key)
    if (known !== undefined) return known === 'retry' || known === 'discard' ? 'copy' : 'keep'
    const fate = await decide(letter)
    fates.set(letter.key, fate)
    return fate
  }
}
