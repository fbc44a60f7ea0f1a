import { createInbox, type Msg, nanos, type Subscription } from '@nats-io/transport-node'
import { CLAIM_BYTES } from '../../../core/messages/bytes.ts'
import { MersalError } from '../../../core/errors/errors.ts'
import { systemClock } from '../../../lib/async/clock.ts'
import { fulfilledWithin } from '../../../lib/async/within.ts'
import type { NatsLive } from '../connection/client.ts'

/**
 * A request for messages ends after this time, and the next one begins. NATS 2.9 stumbles over a
 * request that has just ended (see `close`), so it is long.
 */
const EXPIRES_MS = 300_000
/** The server was busy; so soon it is asked again. */
const PAUSE_MS = 250
const SILENT_HEARTBEATS = 3
const LONGEST_CLOSE_MS = 2000

/** How a request for messages has ended. `gone`: the stream or the consumer is not there. */
type End = { readonly kind: 'done' | 'busy' | 'gone'; readonly text: string }

function endOf({ headers }: Msg): End | undefined {
  const code = headers?.code ?? 0
  const text = headers?.description ?? ''
  if (code === 100) return undefined
  if (code === 503) return { kind: 'gone', text: 'no stream and no consumer answers' }
  if (code === 409 && /deleted|not found|push based/i.test(text)) return { kind: 'gone', text }
  if (code === 404 || code === 408 || /maxbytes|batch completed/i.test(text))
    return { kind: 'done', text }
  return { kind: 'busy', text: `${code} ${text}` }
}

export interface PullOptions {
  readonly stream: string
  /** Name of the consumer. */
  readonly consumer: string
  /** How often the server says that it still knows the request, and looks who still waits. */
  readonly heartbeatMs: number
  /** The server knows the request: a heartbeat or a message has come. */
  readonly heard: () => void
}

/** Asks for messages over one connection, as many at a time as somebody wants. */
export class Pull {
  readonly #live: NatsLive
  readonly #options: PullOptions
  readonly #inbox = createInbox()
  readonly #subscription: Subscription
  readonly #receive: (message: Msg) => void
  #requests = 0
  #left = 0
  #heardAt = 0
  #ended = Promise.withResolvers<End>()

  constructor(live: NatsLive, options: PullOptions, receive: (message: Msg) => void) {
    this.#live = live
    this.#options = options
    this.#receive = receive
    this.#subscription = live.connection.client.subscribe(`${this.#inbox}.*`, {
      callback: (error, message) => {
        if (error === null) this.#arrived(message)
      },
    })
  }

  /**
   * Asks for at most this many, and for fewer if they may be large. Resolves when all have come, or
   * none comes any more. Rejects when the stream or its consumer is gone, or the connection.
   */
  async take(most: number, stop: AbortSignal): Promise<void> {
    const { connection, lost } = this.#live
    const { max_payload: largest = 1 } = connection.client.info ?? {}
    this.#left = Math.max(1, Math.min(most, Math.floor(CLAIM_BYTES / largest)))
    this.#heardAt = systemClock.monotonic()
    this.#ended = Promise.withResolvers()
    const broken = (): void => this.#ended.resolve({ kind: 'done', text: 'stopped' })
    lost.addEventListener('abort', broken)
    stop.addEventListener('abort', broken)
    const watch = setInterval(() => this.#watch(), this.#options.heartbeatMs)
    try {
      if (lost.aborted || stop.aborted) broken()
      else this.#ask(this.#left)
      const end = await this.#ended.promise
      lost.throwIfAborted()
      if (end.kind === 'gone')
        throw new MersalError('MERSAL_UNAVAILABLE', `cannot be consumed: ${end.text}`)
      if (end.kind === 'busy') await systemClock.sleep(PAUSE_MS, stop)
    } finally {
      clearInterval(watch)
      lost.removeEventListener('abort', broken)
      stop.removeEventListener('abort', broken)
    }
  }

  #ask(batch: number): void {
    const { stream, consumer, heartbeatMs } = this.#options
    const request = {
      batch,
      expires: nanos(EXPIRES_MS),
      idle_heartbeat: nanos(heartbeatMs),
    }
    this.#live.connection.client.publish(
      `$JS.API.CONSUMER.MSG.NEXT.${stream}.${consumer}`,
      JSON.stringify(request),
      { reply: `${this.#inbox}.${++this.#requests}` },
    )
  }

  /**
   * Nothing new is asked for; what the server has sent already still comes before this resolves.
   * A request cannot be taken back. NATS 2.9 confuses the order and the count of a message that
   * comes again while nobody but a reader who has left waits for it (`loopAndGatherMsgs`), so it is
   * asked about the consumer, which makes it look who still waits.
   */
  async close(): Promise<void> {
    if (this.#live.lost.aborted) return
    try {
      // A server that hangs answers nothing.
      await fulfilledWithin(systemClock, LONGEST_CLOSE_MS, this.#leave())
    } catch {
      // The connection was lost, or the stream is gone: then so is the request.
    }
  }

  async #leave(): Promise<void> {
    await this.#subscription.drain()
    const { manager } = this.#live.connection
    await manager.consumers.info(this.#options.stream, this.#options.consumer)
  }

  #arrived(message: Msg): void {
    this.#heardAt = systemClock.monotonic()
    // What comes from the stream says where it is acknowledged.
    if (message.reply === undefined || message.reply === '') {
      const end = endOf(message)
      if (end?.kind !== 'gone') this.#options.heard()
      // The end of an earlier request says nothing about this one.
      if (end !== undefined && message.subject === `${this.#inbox}.${this.#requests}`)
        this.#ended.resolve(end)
      return
    }
    this.#options.heard()
    if (--this.#left <= 0) this.#ended.resolve({ kind: 'done', text: 'all have come' })
    this.#receive(message)
  }

  /**
   * A server that was restarted has forgotten the request and sends no heartbeat for it. Nor does
   * anybody answer a request to a consumer that was deleted before.
   */
  #watch(): void {
    if (systemClock.monotonic() - this.#heardAt > SILENT_HEARTBEATS * this.#options.heartbeatMs)
      this.#ended.resolve({ kind: 'gone', text: 'NATS sends no heartbeat' })
  }
}
