import { createInbox, type Msg, type MsgHdrs, type Subscription } from '@nats-io/transport-node'
import { MersalError } from '../../../core/errors/errors.ts'
import { type Followers } from '../../../lib/async/abort.ts'
import { systemClock } from '../../../lib/async/clock.ts'
import type { Live } from '../connection/link.ts'

/** So much may be on its way without an answer; what comes then waits its turn. */
const MOST_BYTES = 8 * 1024 * 1024
const MOST_MESSAGES = 4096

/** What JetStream has said about one message. */
export type Answer =
  | { readonly kind: 'stored' }
  /** No stream takes this subject, or its stream has no leader. */
  | { readonly kind: 'nobody' }
  | {
      readonly kind: 'error'
      readonly status: number
      readonly code: number
      readonly text: string
    }
  /** It was written, and what became of it is not known. */
  | { readonly kind: 'silent'; readonly text: string }
  /** It was not written. */
  | { readonly kind: 'kept'; readonly text: string; readonly withdrawn: boolean }

export interface Parcel {
  readonly subject: string
  readonly headers: MsgHdrs
  readonly body: Uint8Array
}

/** Of one call of `publish`: told when it is to stop. */
export interface Stops {
  readonly signal?: Followers & { readonly aborted: boolean }
  readonly withdraw?: Followers & { readonly aborted: boolean }
}

interface Pending {
  readonly bytes: number
  readonly until: number
  readonly answer: (answer: Answer) => void
}

interface PubAck {
  readonly stream?: string
  readonly error?: {
    readonly code?: number
    readonly err_code?: number
    readonly description?: string
  }
}

function answerIn(message: Msg): Answer {
  if (message.data.length === 0 && message.headers?.code === 503) return { kind: 'nobody' }
  try {
    const { stream, error } = message.json<PubAck>()
    if (error !== undefined)
      return {
        kind: 'error',
        status: error.code ?? 500,
        code: error.err_code ?? 0,
        text: (error.description ?? 'no reason given').slice(0, 300),
      }
    if (typeof stream === 'string' && stream !== '') return { kind: 'stored' }
  } catch {
    // Not from JetStream: some other subscriber has answered.
  }
  return { kind: 'silent', text: 'the answer did not come from a stream' }
}

/** Messages on their way over one connection, each with a number of its own and a time limit. */
export class Lane {
  readonly #live: Live
  readonly #timeoutMs: number
  readonly #inbox = createInbox()
  readonly #pending = new Map<string, Pending>()
  readonly #subscription: Subscription
  #last = 0
  #bytes = 0
  #room = Promise.withResolvers<void>()
  #timer: NodeJS.Timeout | undefined

  constructor(live: Live, timeoutMs: number) {
    this.#live = live
    this.#timeoutMs = timeoutMs
    this.#subscription = live.connection.subscribe(`${this.#inbox}.*`, {
      callback: (error, message) => {
        if (error === null) this.#answered(message.subject, answerIn(message))
      },
    })
    live.lost.addEventListener('abort', () => this.#lost(), { once: true })
  }

  async send(parcel: Parcel, stops: Stops = {}): Promise<Answer> {
    while (this.#full) {
      const left = Promise.withResolvers<void>()
      stops.signal?.add(left.resolve)
      stops.withdraw?.add(left.resolve)
      await Promise.race([this.#room.promise, left.promise])
      stops.signal?.delete(left.resolve)
      stops.withdraw?.delete(left.resolve)
      if (stops.signal?.aborted === true || stops.withdraw?.aborted === true) break
    }
    const withdrawn = stops.withdraw?.aborted === true
    if (withdrawn || stops.signal?.aborted === true)
      return { kind: 'kept', text: 'it was taken back while it waited its turn', withdrawn }
    return this.#write(parcel, stops)
  }

  get #full(): boolean {
    if (this.#live.lost.aborted) return false
    return this.#bytes >= MOST_BYTES || this.#pending.size >= MOST_MESSAGES
  }

  async #write({ subject, headers, body }: Parcel, { signal }: Stops): Promise<Answer> {
    const { connection, lost } = this.#live
    if (lost.aborted) return { kind: 'kept', text: 'the connection was lost', withdrawn: false }
    const ticket = `${this.#inbox}.${++this.#last}`
    const { promise, resolve } = Promise.withResolvers<Answer>()
    try {
      connection.publish(subject, body, { headers, reply: ticket })
    } catch (error) {
      const text = error instanceof Error ? error.message : 'the client did not take it'
      return { kind: 'kept', text, withdrawn: false }
    }
    const until = systemClock.monotonic() + this.#timeoutMs
    this.#pending.set(ticket, { bytes: body.byteLength, until, answer: resolve })
    this.#bytes += body.byteLength
    this.#timer ??= setTimeout(() => this.#expire(), this.#timeoutMs)
    const stop = (): void =>
      this.#answered(ticket, { kind: 'silent', text: 'nobody waited longer' })
    signal?.add(stop)
    try {
      return await promise
    } finally {
      signal?.delete(stop)
    }
  }

  #answered(ticket: string, answer: Answer): void {
    const pending = this.#pending.get(ticket)
    if (pending === undefined) return
    this.#pending.delete(ticket)
    this.#bytes -= pending.bytes
    pending.answer(answer)
    this.#room.resolve()
    this.#room = Promise.withResolvers()
  }

  /** All wait equally long, so the first ones are the oldest. */
  #expire(): void {
    this.#timer = undefined
    const now = systemClock.monotonic()
    for (const [ticket, { until }] of this.#pending) {
      if (until > now) {
        this.#timer = setTimeout(() => this.#expire(), Math.ceil(until - now))
        return
      }
      const text = `NATS did not confirm the message within ${this.#timeoutMs} ms`
      this.#answered(ticket, { kind: 'silent', text })
    }
  }

  #lost(): void {
    clearTimeout(this.#timer)
    const { reason } = this.#live.lost as { readonly reason: unknown }
    const why = reason instanceof MersalError ? reason.message : 'the connection was lost'
    for (const ticket of this.#pending.keys())
      this.#answered(ticket, { kind: 'silent', text: `not confirmed: ${why}` })
    this.#room.resolve()
    this.#subscription.unsubscribe()
  }
}
