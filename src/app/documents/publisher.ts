import type { DeadReason } from '../../core/dead-letter.ts'
import { historyWith } from '../../core/errors/attempts.ts'
import { errorFields, errorText } from '../../core/errors/error-text.ts'
import type { RetryChoices } from '../../core/errors/retry-choices.ts'
import { MersalError } from '../../core/errors/errors.ts'
import type { OutgoingMessage } from '../../core/messages/message.ts'
import type { DocumentSettlement, HeldDocument } from '../../core/records/documents.ts'
import { publishTraced } from '../../core/traced.ts'
import type { Logger } from '../../core/telemetry.ts'
import type { PublishOutcome, Transport } from '../../core/transport.ts'
import { type Backoff, backoffMs } from '../../lib/async/backoff.ts'
import type { Clock, Random } from '../../lib/async/clock.ts'
import { EXTRA_ATTEMPTS } from '../../outbox/limits/slow-mode.ts'
import { choicesByType, retriesOfType, type RetriesByType } from '../../outbox/type-retries.ts'
import { brokenAnswer, isOutcome, noAnswer, noSuchTransport } from '../../outbox/publish/answers.ts'
import type { Outages } from './outages.ts'

export interface DocumentPublisherPorts {
  /** Name of the documents. */
  readonly name: string
  readonly transports: ReadonlyMap<string, Transport>
  readonly outages: Outages
  readonly maxAttempts: number
  readonly retry: Backoff
  readonly retries: RetriesByType
  readonly logger: Logger
  readonly clock: Clock
  readonly random: Random
  readonly warn: (doing: string, error: unknown) => void
}

/** A document in hand. */
export interface InHand {
  readonly document: HeldDocument
  readonly token: string
  /** Nothing is handed to a transport at or after this time (monotonic milliseconds). */
  readonly until: number
  /** Aborts the waiting for a destination; undefined: nobody waits. */
  readonly waiting: AbortSignal | undefined
}

type Ended = Omit<DocumentSettlement, 'key' | 'token'>

/** What is handed over at once. A probe is alone. */
interface Part {
  readonly messages: readonly OutgoingMessage[]
  readonly probe: boolean
}

/** More of them are not remembered. */
const MOST_UNANSWERED = 10_000

/** Publishes the messages of one document, in their order. */
export class DocumentPublisher {
  readonly #ports: DocumentPublisherPorts
  /** Ids of messages with an attempt that had no answer. */
  readonly #unanswered = new Set<string>()
  readonly #choices: ReadonlyMap<string, RetryChoices>

  constructor(ports: DocumentPublisherPorts) {
    this.#ports = ports
    const { name: app, logger } = ports
    this.#choices = choicesByType(ports.retries, (fields, text) =>
      logger.error({ app, ...fields }, text),
    )
  }

  /** What became of them. Never rejects. */
  async publish(inHand: InHand): Promise<DocumentSettlement> {
    const { document, token } = inHand
    return { key: document.key, token, ...(await this.#publish(inHand)) }
  }

  async #publish({ document, until, waiting }: InHand): Promise<Ended> {
    const { clock, outages } = this.#ports
    const { messages, attempts } = document
    const { maxAttempts } = retriesOfType(this.#ports, messages[0]?.type ?? '')
    // It is alone, and has been tried more often than it was refused.
    if (attempts > maxAttempts + EXTRA_ATTEMPTS) return this.#killsRelay(document)
    let confirmed = 0
    // What was not tried, or failed through no fault of its own, is not charged.
    const uncharged = (): number => (confirmed === 0 ? attempts - 1 : 0)
    while (confirmed < messages.length) {
      const rest = until - clock.monotonic()
      if (rest <= 0) return { confirmed, attempts: uncharged(), retryMs: 0 }
      const part = this.#part(messages.slice(confirmed))
      const { length } = part.messages
      const bad = length === 0 ? undefined : await this.#hand(part, rest)
      confirmed += bad?.at ?? length
      if (length > 0 && bad === undefined) continue
      if (bad?.outcome.kind === 'refused')
        return this.#refused(bad.outcome, confirmed, bad.message, document)
      const head = messages[confirmed] as OutgoingMessage
      if (!(await outages.over(head, until, waiting)))
        return { confirmed, attempts: uncharged(), retryMs: outages.restMs(head) }
    }
    return { confirmed, attempts: 0, retryMs: 0 }
  }

  /**
   * The first ones, as far as they may be handed over at once: of one key, to a transport that
   * keeps its order, and to destinations that answer.
   */
  #part(all: readonly OutgoingMessage[]): Part {
    const messages: OutgoingMessage[] = []
    for (const message of all) {
      const before = messages.at(-1)
      if (before !== undefined && !this.#together(before, message)) break
      const admission = this.#ports.outages.admit(message, messages.length === 0)
      if (admission === 'no') break
      messages.push(message)
      if (admission === 'probe') return { messages, probe: true }
    }
    return { messages, probe: false }
  }

  #together(before: OutgoingMessage, { to, partitionKey }: OutgoingMessage): boolean {
    return (
      before.to.transport === to.transport &&
      partitionKey !== undefined &&
      before.partitionKey === partitionKey &&
      this.#ports.transports.get(to.transport)?.features.ordering === 'per-key'
    )
  }

  /** The first one that was not confirmed: what follows is published again. */
  async #hand(
    { messages, probe }: Part,
    ms: number,
  ): Promise<
    | {
        at: number
        message: OutgoingMessage
        outcome: Exclude<PublishOutcome, { kind: 'confirmed' }>
      }
    | undefined
  > {
    const outcomes = await this.#outcomes(messages, ms)
    for (const [at, message] of messages.entries()) {
      const outcome = outcomes[at] as PublishOutcome
      this.#ports.outages.answered(message, outcome, probe)
      if (outcome.kind === 'confirmed') {
        this.#unanswered.delete(message.id)
        continue
      }
      if (outcome.kind === 'unknown') this.#noteUnanswered(message.id)
      if (outcome.kind !== 'refused') this.#ports.warn('publishing', outcome.error)
      return { at, message, outcome }
    }
    return undefined
  }

  /** A transport that throws, rejects or answers nonsense has said nothing. */
  async #outcomes(
    part: readonly OutgoingMessage[],
    ms: number,
  ): Promise<readonly PublishOutcome[]> {
    const to = (part[0] as OutgoingMessage).to.transport
    const transport = this.#ports.transports.get(to)
    if (transport === undefined) return part.map(() => noSuchTransport(to))
    const { clock, name: app } = this.#ports
    const [late, done] = [new AbortController(), new AbortController()]
    void clock.sleep(ms, done.signal).then(() => late.abort())
    // The hold ends soon after that.
    const over = clock.sleep(ms * 1.1, done.signal).then(() => undefined)
    try {
      const options = { signal: late.signal }
      const about = { app, by: 'documents' } as const
      const answering = Promise.allSettled(publishTraced(about, transport, part, options))
      const answers = await Promise.race([answering, over])
      if (answers === undefined) return part.map(noAnswer)
      return part.map((_, at) => {
        const answer = answers[at]
        const value: unknown = answer?.status === 'fulfilled' ? answer.value : undefined
        if (isOutcome(value)) return value
        return brokenAnswer(transport, answer?.status === 'rejected' ? answer.reason : undefined)
      })
    } catch (thrown) {
      return part.map(() => brokenAnswer(transport, thrown))
    } finally {
      done.abort()
    }
  }

  #noteUnanswered(id: string): void {
    this.#unanswered.add(id)
    const [oldest] = this.#unanswered
    if (this.#unanswered.size > MOST_UNANSWERED) this.#unanswered.delete(oldest as string)
  }

  #refused(
    { permanent, reason, error }: Extract<PublishOutcome, { kind: 'refused' }>,
    confirmed: number,
    { id, type }: OutgoingMessage,
    { attempts, history: earlier }: HeldDocument,
  ): Ended {
    const { random, clock } = this.#ports
    const { maxAttempts, retry } = retriesOfType(this.#ports, type)
    const choices = this.#choices.get(type)
    const tried = confirmed === 0 ? attempts : 1
    const noted = confirmed === 0 ? earlier : undefined
    const history = historyWith(noted, { attempt: tried, at: clock.now(), error })
    if (!permanent && tried < maxAttempts && choices?.wants(error) !== false) {
      const retryMs = choices?.delayMs(tried, error) ?? backoffMs(retry, tried, random)
      return { confirmed, attempts: tried, retryMs, history }
    }
    // Attempts above the limit were never given back: nobody knows how those ended.
    const maybePublished = this.#unanswered.has(id) || tried > maxAttempts
    return { ...this.#gaveUp(confirmed, reason, error, maybePublished), history }
  }

  #killsRelay({ key, attempts, history: earlier }: HeldDocument): Ended {
    const text = `the first message of ${key.collection}/${key.id} was taken ${attempts - 1} times and neither confirmed nor given back: whoever publishes it seems to die. Look at its bytes, then retry or discard it`
    const error = new MersalError('MERSAL_UNKNOWN_OUTCOME', text)
    const failure = { attempt: attempts, at: this.#ports.clock.now(), error }
    return {
      ...this.#gaveUp(0, 'kills-relay', error, true),
      history: historyWith(earlier, failure),
    }
  }

  #gaveUp(confirmed: number, reason: DeadReason, why: Error, maybePublished: boolean): Ended {
    const fields = { reason, ...errorFields(why) }
    this.#ports.logger.error(fields, 'documents: a message became a dead letter')
    const dead = { reason, error: errorText(why), maybePublished }
    return { confirmed, dead, attempts: 0, retryMs: 0 }
  }
}
