import { AsyncLocalStorage } from 'node:async_hooks'
import { errorFields } from '../../core/errors/error-text.ts'
import { MersalError } from '../../core/errors/errors.ts'
import { type CommandType, headerNames, replyTypes } from '../../core/messages/message.ts'
import { replyQueue } from '../../core/messages/reply-queues.ts'
import { checkNumber, checkOptions, checkSignal } from '../../core/options.ts'
import type { Delivery, Disposition, Transport } from '../../core/transport.ts'
import { linkAbort } from '../../lib/async/linked-abort.ts'
import { uuidv7 } from '../../lib/uuid.ts'
import { type AppState, appStopped } from '../lifecycle.ts'
import { decode } from '../receive/decode.ts'
import { type SendPorts, destinationOf, directCall } from '../send/send-calls.ts'
import { checkMessageType } from '../send/messages.ts'
import { checkedId } from '../send/outgoing.ts'
import type { SendOptions } from '../senders.ts'
import type { Settings } from '../settings/settings.ts'
import { failedType, replyType } from './replying.ts'

/** Options of `app.request()`. */
export interface RequestOptions
  extends Pick<SendOptions, 'to' | 'partitionKey' | 'expiresInMs' | 'headers' | 'id'> {
  /** How long the reply may take, in milliseconds. From 1 to an hour. Default 30,000. */
  readonly timeoutMs?: number
  /** Ends the waiting when it aborts: the call throws its reason. Default: nothing ends it. */
  readonly signal?: AbortSignal
}

export interface RequestPorts<Tx> {
  readonly settings: Settings<Tx>
  readonly sending: SendPorts<Tx>
  /** The state of the app, and the unit that is open where this is called. */
  readonly place: () => {
    readonly state: AppState
    readonly outer: { readonly open: boolean } | undefined
  }
}

type Answer = Pick<PromiseWithResolvers<unknown>, 'resolve' | 'reject'>

/** A queue for the replies that come to this process over one transport. */
interface Desk {
  readonly queue: string
  readonly transport: Transport
  readonly consumer: AsyncDisposable
  readonly hearing: Hearing
}

interface Hearing {
  /** A reply has not come in time, and no other one since. */
  silent: boolean
}

const OPTIONS = ['timeoutMs', 'signal', 'to', 'partitionKey', 'expiresInMs', 'headers', 'id']
/** Replies in hand at one time. */
const CONCURRENCY = 100

/** Requests of this process that wait for their replies. */
export class Requests<Tx> {
  readonly #ports: RequestPorts<Tx>
  readonly #queue: string
  /** By transport. */
  readonly #desks = new Map<string, Promise<Desk>>()
  /** Those that are open. */
  readonly #opened = new Map<string, Desk>()
  /** By the id of the request. */
  readonly #waiting = new Map<string, Answer>()
  /** That of the request that happens to open a desk must not reach the replies of all others. */
  readonly #inOwnContext = AsyncLocalStorage.snapshot()
  #closed = false

  constructor(ports: RequestPorts<Tx>) {
    this.#ports = ports
    const { name, clock } = ports.settings
    this.#queue = replyQueue(name, uuidv7(clock.now()))
  }

  /** Sends the command at once, and resolves to the reply. */
  async request<Body>(
    type: CommandType<Body>,
    body: Body,
    options: RequestOptions = {},
  ): Promise<unknown> {
    const { settings, place } = this.#ports
    checkMessageType('request()', type, 'command')
    checkOptions('request()', options, OPTIONS)
    const { signal, timeoutMs: given, ...sending } = options
    checkSignal('request().signal', signal)
    const bounds = { default: 30_000, min: 1, max: 3_600_000 }
    const timeoutMs = checkNumber('request().timeoutMs', given, bounds)
    this.#assertOpen()
    if (settings.storage !== undefined && place().outer !== undefined)
      throw insideTransaction(type.name)
    signal?.throwIfAborted()
    const id = options.id === undefined ? uuidv7(settings.clock.now()) : checkedId(options.id)
    if (this.#waiting.has(id)) throw waitsAlready(type.name)
    const { promise, resolve, reject } = Promise.withResolvers<unknown>()
    this.#waiting.set(id, { resolve, reject })
    const over = new AbortController()
    using link = linkAbort(signal)
    link.follow(() => reject(link.reason))
    void settings.clock.sleep(timeoutMs, over.signal).then(() => {
      if (over.signal.aborted) return
      for (const { hearing } of this.#opened.values()) hearing.silent = true
      reject(noReply(type.name, id, timeoutMs))
    })
    this.#send(type, body, { ...sending, id }).catch(reject)
    try {
      return await promise
    } finally {
      this.#waiting.delete(id)
      over.abort('over')
    }
  }

  async #send<Body>(
    type: CommandType<Body>,
    body: Body,
    options: SendOptions & { readonly id: string },
  ): Promise<void> {
    const { sending } = this.#ports
    const { transport } = destinationOf(sending.routing, 'send', type, options.to)
    const { queue } = await this.#desk(transport)
    this.#assertOpen()
    // The desk may have waited for the broker for longer than the asker.
    if (!this.#waiting.has(options.id)) return
    await directCall(sending, undefined, queue)('send', type, body, options)
  }

  #assertOpen(): void {
    const { settings } = this.#ports
    const { state } = this.#ports.place()
    if (this.#closed || state === 'stopped' || state === 'stopping')
      throw appStopped(settings.name, 'request()')
  }

  /**
   * Opened once for each transport, and again when it hears nothing: somebody may have removed its
   * queue. A failure is tried again by the next request.
   */
  #desk(name: string): Promise<Desk> {
    const known = this.#desks.get(name)
    const open = this.#opened.get(name)
    if (known !== undefined && open?.hearing.silent !== true) return known
    this.#opened.delete(name)
    const transport = this.#ports.settings.transports.get(name) as Transport
    const opening = this.#inOwnContext(() => this.#open(transport, open))
    this.#desks.set(name, opening)
    const opened = (desk: Desk): void => void this.#opened.set(name, desk)
    opening.then(opened, () => this.#desks.delete(name))
    return opening
  }

  async #open(transport: Transport, before: Desk | undefined): Promise<Desk> {
    // It may read a queue that is gone, although another one has the name now.
    await before?.consumer[Symbol.asyncDispose]()
    const queue = this.#queue
    const hearing = { silent: false }
    await transport.subscribe(queue, [])
    const consumption = { queue, concurrency: CONCURRENCY }
    const consumer = await transport.consume(consumption, (reply) => {
      hearing.silent = false
      return this.#arrived(reply)
    })
    return { queue, transport, consumer, hearing }
  }

  /** What nobody waits for any more goes without a word: it is late, or came before. */
  async #arrived(delivery: Delivery): Promise<Disposition> {
    const { headers, type } = delivery.message
    const id = headers[headerNames.causationId]
    const answer = id === undefined ? undefined : this.#waiting.get(id)
    if (answer !== undefined) {
      try {
        await this.#answer(delivery, answer, type === replyTypes.failed)
      } catch (error) {
        answer.reject(error)
      }
    }
    return { kind: 'ack' }
  }

  async #answer(delivery: Delivery, answer: Answer, failed: boolean): Promise<void> {
    const decoded = await decode(delivery, failed ? failedType : replyType, this.#ports.settings)
    if (decoded.kind === 'reject') answer.reject(decoded.error)
    else if (failed) answer.reject(requestFailed(decoded.body))
    else answer.resolve(decoded.body)
  }

  /** Ends every request, and removes the queues. Never rejects. */
  async close(): Promise<void> {
    this.#closed = true
    const { name: app, logger } = this.#ports.settings
    for (const { reject } of this.#waiting.values()) reject(appStopped(app, 'request()'))
    const closing = [...this.#desks.values()].map(async (opening) => {
      const { queue, transport, consumer } = await opening
      await consumer[Symbol.asyncDispose]()
      const removal = await transport.removeQueue?.(queue)
      if (removal?.kind === 'kept') logger.debug({ app, queue, why: removal.why }, QUEUE_STAYS)
    })
    for (const result of await Promise.allSettled(closing))
      if (result.status === 'rejected')
        logger.debug({ app, ...errorFields(result.reason) }, QUEUE_STAYS)
  }
}

const QUEUE_STAYS = 'the queue for replies was not removed'

function noReply(type: string, id: string, timeoutMs: number): MersalError {
  const text = `request('${type}'): no reply within ${timeoutMs} ms; it may have been handled, or may still be`
  return new MersalError('MERSAL_NO_REPLY', text, { details: { id } })
}

function waitsAlready(type: string): MersalError {
  const text = `request('${type}'): a request with this id waits for its reply already: give each an id of its own`
  return new MersalError('MERSAL_INVALID_MESSAGE', text, { details: { field: 'id' } })
}

function requestFailed(body: unknown): MersalError {
  const { reason } = Object(body) as { readonly reason?: unknown }
  const known = typeof reason === 'string' ? reason.slice(0, 100) : 'unknown'
  const text = `request(): the other side has given the request up (${known}): look at the dead letters of its queue`
  return new MersalError('MERSAL_REQUEST_FAILED', text, { details: { reason: known } })
}

function insideTransaction(type: string): MersalError {
  const text = `request('${type}') was called inside an open transaction, which would be held open for as long as the reply takes: request before it or after it, or send() the command and handle an answer`
  return new MersalError('MERSAL_INVALID_OPTIONS', text)
}
