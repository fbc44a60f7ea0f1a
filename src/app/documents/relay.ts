import { errorFields } from '../../core/errors/error-text.ts'
import type {
  DocumentSettlement,
  DocumentStorage,
  HeldDocument,
} from '../../core/records/documents.ts'
import { backoffMs } from '../../lib/async/backoff.ts'
import { seldom } from '../../lib/async/seldom.ts'
import { uuidv7 } from '../../lib/uuid.ts'
import { createSlowMode, type SlowMode } from '../../outbox/limits/slow-mode.ts'
import { retriesOfType } from '../../outbox/type-retries.ts'
import { Outages } from './outages.ts'
import { DocumentPublisher, type DocumentPublisherPorts } from './publisher.ts'

export interface DocumentRelayPorts extends Omit<DocumentPublisherPorts, 'outages' | 'warn'> {
  readonly storage: DocumentStorage
  readonly pollIntervalMs: number
  /** Documents in hand at one time. */
  readonly concurrency: number
  readonly holdMs: number
}

/** Waits for a storage that does not answer. */
const AWAY = { firstMs: 1000, longestMs: 30_000 }

/** Publishes the messages of documents: of one document in their order, one relay at a time. */
export class DocumentRelay {
  readonly #ports: DocumentRelayPorts
  readonly #publisher: DocumentPublisher
  /**
   * A document that kills its relay shows as attempts above the limit. Those that were held with it
   * are suspects as well: so documents go one by one then, and only the culprit is charged.
   */
  readonly #slowMode: SlowMode
  readonly #inHand = new Set<Promise<void>>()
  readonly #isNews: (text: string) => boolean
  #rung = Promise.withResolvers<void>()

  constructor(ports: DocumentRelayPorts) {
    this.#ports = ports
    this.#isNews = seldom(ports.clock, 60_000)
    this.#slowMode = createSlowMode((on) => this.#saySlow(on))
    this.#publisher = new DocumentPublisher({
      ...ports,
      outages: new Outages({ ...ports, most: Math.floor(ports.concurrency / 2) }),
      warn: (doing, error) => this.#warn(doing, error),
    })
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
        const full = await this.#take(signal)
        failures = 0
        if (!full) await this.#rest(this.#ports.pollIntervalMs, signal)
        else if (this.#room === 0) await this.#rung.promise
      } catch (error) {
        this.#warn('looking for documents with messages', error)
        await this.#rest(backoffMs(AWAY, ++failures, this.#ports.random), signal)
      }
    }
    await Promise.all(this.#inHand)
  }

  /** Publishes what is due now. Returns when nothing more is. */
  async drain(): Promise<void> {
    while ((await this.#take(undefined)) || this.#inHand.size > 0) await Promise.all(this.#inHand)
  }

  /** Documents that may be taken in hand now. */
  get #room(): number {
    const { concurrency } = this.#ports
    return Math.max(0, (this.#slowMode.on ? 1 : concurrency) - this.#inHand.size)
  }

  /** Returns whether there may be more that is due. `waiting`: for destinations that are away. */
  async #take(waiting: AbortSignal | undefined): Promise<boolean> {
    const { storage, holdMs, clock } = this.#ports
    const limit = this.#room
    if (limit === 0) return true
    const token = uuidv7(clock.now())
    const until = clock.monotonic() + holdMs * 0.8
    const found = await storage.findWithMessages({ limit, holdMs, token })
    if (this.#isSuspect(found)) {
      await Promise.all(found.map((document) => this.#giveBack(document, token)))
      return true
    }
    for (const document of found) {
      const work = this.#relay({ document, token, until, waiting }).finally(() => {
        this.#inHand.delete(work)
        this.ring()
      })
      this.#inHand.add(work)
    }
    return found.length === limit
  }

  /** Whether one of them has to be tried alone, and is not alone. */
  #isSuspect(found: readonly HeldDocument[]): boolean {
    const suspect = found.some(
      ({ attempts, messages }) =>
        attempts > retriesOfType(this.#ports, messages[0]?.type ?? '').maxAttempts,
    )
    const before = this.#slowMode.on
    if (suspect && !before) this.#slowMode.enter()
    this.#slowMode.saw(suspect)
    return suspect && !before && found.length + this.#inHand.size > 1
  }

  /** Unharmed: nobody has tried it. */
  #giveBack({ key, attempts }: HeldDocument, token: string): Promise<void> {
    return this.#settle({ key, token, confirmed: 0, attempts: attempts - 1, retryMs: 0 })
  }

  async #relay(inHand: Parameters<DocumentPublisher['publish']>[0]): Promise<void> {
    await this.#settle(await this.#publisher.publish(inHand))
  }

  async #settle(settlement: DocumentSettlement): Promise<void> {
    try {
      await this.#ports.storage.removeMessages(settlement)
    } catch (error) {
      // The hold ends by itself; what was published comes once more.
      this.#warn('recording what was published', error)
    }
  }

  async #rest(ms: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return
    const timer = new AbortController()
    await Promise.race([this.#rung.promise, this.#ports.clock.sleep(ms, timer.signal)])
    timer.abort()
  }

  #saySlow(on: boolean): void {
    const { logger } = this.#ports
    if (on)
      logger.warn(
        {},
        'documents: a message seems to kill its relay; documents go one by one until the suspects are past',
      )
    else logger.info({}, 'documents: the suspects are past; documents go in batches again')
  }

  #warn(doing: string, error: unknown): void {
    const fields = errorFields(error)
    const level = this.#isNews(`${doing} ${fields.code}`) ? 'warn' : 'debug'
    this.#ports.logger[level](fields, `documents: ${doing} failed, trying again`)
  }
}
