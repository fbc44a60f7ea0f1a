import type {
  DocumentSettlement,
  DocumentStorage,
  HeldDocument,
} from '../../core/records/documents.ts'
import type { DeadReason } from '../../core/dead-letter.ts'
import { errorFields, errorText } from '../../core/errors/error-text.ts'
import type { OutgoingMessage } from '../../core/messages/message.ts'
import type { Logger } from '../../core/telemetry.ts'
import type { PublishOutcome, Transport } from '../../core/transport.ts'
import { type Backoff, backoffMs } from '../../lib/async/backoff.ts'
import type { Clock, Random } from '../../lib/async/clock.ts'
import { seldom } from '../../lib/async/seldom.ts'
import { uuidv7 } from '../../lib/uuid.ts'

export interface DocumentRelayPorts {
  readonly storage: DocumentStorage
  readonly transports: ReadonlyMap<string, Transport>
  readonly pollIntervalMs: number
  /** Documents in hand at one time. */
  readonly concurrency: number
  readonly holdMs: number
  readonly maxAttempts: number
  readonly retry: Backoff
  readonly logger: Logger
  readonly clock: Clock
  readonly random: Random
}

/** Waits of a destination, or a storage, that does not answer. */
const AWAY = { firstMs: 1000, longestMs: 30_000 }

/** Publishes the messages of documents: of one document in their order, one relay at a time. */
export class DocumentRelay {
  readonly #ports: DocumentRelayPorts
  readonly #inHand = new Set<Promise<void>>()
  readonly #isNews: (text: string) => boolean
  #rung = Promise.withResolvers<void>()
  /** Failures in a row of each transport. */
  readonly #failures = new Map<string, number>()

  constructor(ports: DocumentRelayPorts) {
    this.#ports = ports
    this.#isNews = seldom(ports.clock, 60_000)
  }

  /** There may be messages. */
  ring(): void {
    this.#rung.resolve()
  }

  /** Until `signal` aborts; then what is in hand is finished. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    signal.addEventListener('abort', () => this.ring(), { once: true })
    let failures = 0
    while (!signal.aborted) {
      this.#rung = Promise.withResolvers()
      try {
        const full = await this.#take()
        failures = 0
        if (!full) await this.#rest(this.#ports.pollIntervalMs, signal)
        else if (this.#inHand.size >= this.#ports.concurrency) await this.#rung.promise
      } catch (error) {
        this.#warn('looking for documents with messages', error)
        await this.#rest(backoffMs(AWAY, ++failures, this.#ports.random), signal)
      }
    }
    await Promise.all(this.#inHand)
  }

  /** Publishes what is due now. Returns when nothing more is. */
  async drain(): Promise<void> {
    while ((await this.#take()) || this.#inHand.size > 0) await Promise.all(this.#inHand)
  }

  /** Returns whether there may be more that is due. */
  async #take(): Promise<boolean> {
    const { storage, concurrency, holdMs, clock } = this.#ports
    const limit = concurrency - this.#inHand.size
    if (limit <= 0) return true
    const token = uuidv7(clock.now())
    const until = clock.monotonic() + holdMs * 0.8
    const found = await storage.findWithMessages({ limit, holdMs, token })
    for (const document of found) {
      const work = this.#relay(document, token, until).finally(() => {
        this.#inHand.delete(work)
        this.ring()
      })
      this.#inHand.add(work)
    }
    return found.length === limit
  }

  async #relay(document: HeldDocument, token: string, until: number): Promise<void> {
    const settlement = await this.#publish(document, token, until)
    try {
      await this.#ports.storage.removeMessages(settlement)
    } catch (error) {
      // The hold ends by itself; what was published comes once more.
      this.#warn('recording what was published', error)
    }
  }

  async #publish(
    { key, messages, attempts }: HeldDocument,
    token: string,
    until: number,
  ): Promise<DocumentSettlement> {
    const { clock, maxAttempts } = this.#ports
    const about = { key, token }
    // Nobody has refused it so often: its relay does not survive it.
    if (attempts > maxAttempts) return { ...about, ...this.#gaveUp(0, 'kills-relay', undefined) }
    let confirmed = 0
    for (const run of runsOf(messages, this.#ports.transports)) {
      const rest = until - clock.monotonic()
      if (rest <= 0) break
      for (const outcome of await this.#hand(run, rest)) {
        if (outcome.kind !== 'confirmed') {
          const tried = confirmed === 0 ? attempts : 1
          return { ...about, ...this.#notConfirmed(outcome, confirmed, tried, run) }
        }
        confirmed++
      }
      this.#failures.delete((run[0] as OutgoingMessage).to.transport)
    }
    return { ...about, confirmed, attempts: 0, retryMs: 0 }
  }

  /** The answers up to the first that is no confirm: what follows is published again. */
  async #hand(run: readonly OutgoingMessage[], ms: number): Promise<readonly PublishOutcome[]> {
    const transport = this.#ports.transports.get((run[0] as OutgoingMessage).to.transport)
    if (transport === undefined) {
      const error = new Error('no transport has this name any more')
      return [{ kind: 'unavailable', error }]
    }
    const [late, done] = [new AbortController(), new AbortController()]
    void this.#ports.clock.sleep(ms, done.signal).then(() => late.abort())
    const outcomes = await Promise.all(transport.publish(run, { signal: late.signal }))
    done.abort()
    const bad = outcomes.findIndex(({ kind }) => kind !== 'confirmed')
    return bad < 0 ? outcomes : outcomes.slice(0, bad + 1)
  }

  #notConfirmed(
    outcome: Exclude<PublishOutcome, { kind: 'confirmed' }>,
    confirmed: number,
    tried: number,
    run: readonly OutgoingMessage[],
  ): Omit<DocumentSettlement, 'key' | 'token'> {
    const { maxAttempts, retry, random } = this.#ports
    switch (outcome.kind) {
      case 'refused':
        if (outcome.permanent || tried >= maxAttempts)
          return this.#gaveUp(confirmed, outcome.reason, outcome.error)
        return { confirmed, attempts: tried, retryMs: backoffMs(retry, tried, random) }
      case 'unavailable':
      case 'unknown': {
        // No fault of the message: the attempt is given back.
        const name = (run[0] as OutgoingMessage).to.transport
        const failures = (this.#failures.get(name) ?? 0) + 1
        this.#failures.set(name, failures)
        this.#warn('publishing', outcome.error)
        return { confirmed, attempts: tried - 1, retryMs: backoffMs(AWAY, failures, random) }
      }
      default:
        return outcome satisfies never
    }
  }

  #gaveUp(
    confirmed: number,
    reason: DeadReason,
    cause: Error | undefined,
  ): Omit<DocumentSettlement, 'key' | 'token'> {
    const why = cause ?? new Error('every relay that tried it has died')
    const fields = { reason, ...errorFields(why) }
    this.#ports.logger.error(fields, 'documents: a message became a dead letter')
    return { confirmed, dead: { reason, error: errorText(why) }, attempts: 0, retryMs: 0 }
  }

  async #rest(ms: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return
    const timer = new AbortController()
    await Promise.race([this.#rung.promise, this.#ports.clock.sleep(ms, timer.signal)])
    timer.abort()
  }

  #warn(doing: string, error: unknown): void {
    const fields = errorFields(error)
    const level = this.#isNews(`${doing} ${fields.code}`) ? 'warn' : 'debug'
    this.#ports.logger[level](fields, `documents: ${doing} failed, trying again`)
  }
}

/**
 * Pieces that may be handed over at once: messages of one key to a transport that keeps its order;
 * else one by one.
 */
function runsOf(
  messages: readonly OutgoingMessage[],
  transports: ReadonlyMap<string, Transport>,
): readonly (readonly OutgoingMessage[])[] {
  const runs: OutgoingMessage[][] = []
  for (const message of messages) {
    const last = runs.at(-1)
    const before = last?.at(-1)
    const { transport } = message.to
    const together =
      before !== undefined &&
      before.to.transport === transport &&
      message.partitionKey !== undefined &&
      before.partitionKey === message.partitionKey &&
      transports.get(transport)?.features.ordering === 'per-key'
    if (together) last?.push(message)
    else runs.push([message])
  }
  return runs
}
