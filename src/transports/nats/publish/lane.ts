import {
  createInbox,
  type Msg,
  type MsgHdrs,
  PermissionViolationError,
  type Subscription,
} from '@nats-io/transport-node'
import type { PublishOutcome } from '../../../core/transport.ts'
import { systemClock } from '../../../lib/async/clock.ts'
import { confirmBook } from '../../shared/confirm-book.ts'
import { refused, unavailable, unknown, withdrawn } from '../../shared/outcomes.ts'
import { answeredOrStopped, type Stop, type TakeBack } from '../../shared/stop.ts'
import type { NatsLive } from '../connection/client.ts'

/** Most that may be on its way without an answer; what comes then waits its turn. */
const MOST_BYTES = 8 * 1024 * 1024
const MOST_MESSAGES = 4096

/** What JetStream has said about one message, or what follows from its silence. */
export type Answer =
  | {
      readonly kind: 'stored'
      /** The stream knows its id, and gave the one that it stored this place. */
      readonly before?: number
    }
  /** No stream takes this subject, or its stream has no leader. */
  | { readonly kind: 'nobody' }
  | {
      readonly kind: 'error'
      readonly status: number
      readonly code: number
      readonly text: string
    }
  | PublishOutcome

export interface Parcel {
  readonly subject: string
  readonly headers: MsgHdrs
  readonly body: Uint8Array
}

type Settle = (answer: Answer) => void

interface Pending {
  readonly subject: string
  readonly bytes: number
  readonly until: number
  readonly settle: Settle
}

interface PubAck {
  readonly stream?: string
  readonly seq?: number
  readonly duplicate?: boolean
  readonly error?: {
    readonly code?: number
    readonly err_code?: number
    readonly description?: string
  }
}

function answerIn(message: Msg): Answer {
  if (message.data.length === 0 && message.headers?.code === 503) return { kind: 'nobody' }
  try {
    const { stream, seq, duplicate, error } = message.json<PubAck>()
    if (error !== undefined)
      return {
        kind: 'error',
        status: error.code ?? 500,
        code: error.err_code ?? 0,
        text: (error.description ?? 'no reason given').slice(0, 300),
      }
    if (typeof stream === 'string' && stream !== '')
      return duplicate === true ? { kind: 'stored', before: seq ?? 0 } : { kind: 'stored' }
  } catch {
    // Not from JetStream: some other subscriber has answered.
  }
  return unknown('the answer did not come from a stream')
}

/** Messages on their way over one connection, each with a number of its own and a time limit. */
export class Lane {
  readonly #live: NatsLive
  readonly #timeoutMs: number
  readonly #inbox = createInbox()
  readonly #waiting = new Set<{ readonly parcel: Parcel; readonly settle: Settle }>()
  readonly #subscription: Subscription
  readonly #book
  #last = 0
  #bytes = 0

  constructor(live: NatsLive, timeoutMs: number) {
    this.#live = live
    this.#timeoutMs = timeoutMs
    this.#book = confirmBook<string, Pending>({
      clock: systemClock,
      firstLookMs: timeoutMs,
      restMs: (_ticket, { until }, now) => until - now,
      onLate: (_ticket, pending) => {
        this.#bytes -= pending.bytes
        pending.settle(unknown(`NATS did not confirm the message within ${timeoutMs} ms`))
        return 'forget'
      },
      onLooked: () => this.#writeWaiting(),
    })
    this.#subscription = live.connection.client.subscribe(`${this.#inbox}.*`, {
      callback: (error, message) => {
        if (error === null) this.#answered(message.subject, answerIn(message))
      },
    })
    live.lost.addEventListener('abort', () => this.#lost(), { once: true })
    void this.#hearRefusals()
  }

  /** A server answers a publish that is not permitted beside the way of the other answers. */
  async #hearRefusals(): Promise<void> {
    for await (const status of this.#live.connection.client.status()) {
      if (status.type !== 'error' || !(status.error instanceof PermissionViolationError)) continue
      const { operation, subject } = status.error
      if (operation !== 'publish') continue
      const text = `the user lacks the permission to publish to '${subject}' (docs/nats.md lists them)`
      const denied = [...this.#book.entries()].filter(([, each]) => each.subject === subject)
      for (const [ticket] of denied) this.#answered(ticket, refused(text))
    }
  }

  async send(parcel: Parcel, stop?: Stop): Promise<Answer> {
    if (stop?.withdraw?.signal.aborted === true) return withdrawn()
    if (stop?.signal.aborted === true) return unavailable('not sent: nobody waits for it')
    return await new Promise((resolve) => {
      answeredOrStopped<Answer>(stop, (settle) => this.#writeOrWait(parcel, settle), resolve)
    })
  }

  #writeOrWait(parcel: Parcel, settle: Settle): TakeBack | undefined {
    if (!this.#isFull) {
      this.#write(parcel, settle)
      return undefined
    }
    const waiting = { parcel, settle }
    this.#waiting.add(waiting)
    return () => this.#waiting.delete(waiting)
  }

  get #isFull(): boolean {
    return this.#bytes >= MOST_BYTES || this.#book.size >= MOST_MESSAGES
  }

  #write({ subject, headers, body }: Parcel, settle: Settle): void {
    const { connection, lost } = this.#live
    const ticket = `${this.#inbox}.${++this.#last}`
    try {
      lost.throwIfAborted()
      connection.client.publish(subject, body, { headers, reply: ticket })
    } catch (error) {
      settle(unavailable('not sent: the connection to NATS is closed', error))
      return
    }
    const until = systemClock.monotonic() + this.#timeoutMs
    this.#book.enter(ticket, { subject, bytes: body.byteLength, until, settle })
    this.#bytes += body.byteLength
  }

  #writeWaiting(): void {
    for (const waiting of this.#waiting) {
      if (this.#isFull) return
      this.#waiting.delete(waiting)
      this.#write(waiting.parcel, waiting.settle)
    }
  }

  #answered(ticket: string, answer: Answer): void {
    const pending = this.#book.take(ticket)
    if (pending === undefined) return
    this.#bytes -= pending.bytes
    pending.settle(answer)
    this.#writeWaiting()
  }

  #lost(): void {
    this.#book.close()
    this.#subscription.unsubscribe()
    const reason: unknown = this.#live.lost.reason
    for (const [ticket] of this.#book.entries())
      this.#book
        .take(ticket)
        ?.settle(unknown('the connection was lost before NATS confirmed the message', reason))
    for (const { settle } of this.#waiting)
      settle(unavailable('not sent: the connection to NATS was lost', reason))
    this.#waiting.clear()
  }
}
