import { randomUUID } from 'node:crypto'
import { CLAIM_BYTES, LARGEST_ROW_BYTES } from '../../core/messages/bytes.ts'
import type { Delivery, Disposition } from '../../core/transport.ts'
import { aborted } from '../../lib/async/abort.ts'
import { MOST_FETCHED_BYTES } from '../../sql/postgres/fetched-bytes.ts'
import type { Query } from '../../sql/postgres/pool/pool.ts'
import type { HeldQueueState } from '../shared/held-queue.ts'
import type { HeldMessages, Reject, Taken } from '../shared/receiving/held-messages.ts'
import type { Connection } from './connection.ts'
import { delayOf } from '../queues/delay.ts'
import { Settler } from '../queues/settler.ts'
import { recording } from './settle.ts'
import { type Bounds, buryLarge, bytesOf, deliveryOf, type TakenRow } from './taken.ts'
import { type Stretch, Window } from './window.ts'

export interface QueueName {
  readonly name: string
  /** Its number in its table. */
  readonly id: number
}

/** The last position of the queue, and the first one behind a stretch, if there is one. */
interface Bound {
  readonly end: string
  readonly up_to: string | null
}

const LAST_POSITION = '9223372036854775807'
/** Most retries that are remembered by their positions; more are looked for. */
const MOST_RETRIES = 10_000

/** The messages of one queue, as its rows are taken, renewed and settled. */
export class QueueRows implements HeldMessages<TakenRow> {
  readonly #connection: Connection
  readonly #queue: QueueName
  readonly #state: HeldQueueState
  readonly #settler: Settler
  readonly #window = new Window()
  /**
   * Retries of ours by position, and when they fall due by our monotonic clock. Everything else is
   * found by ring or poll.
   */
  readonly #retries = new Map<string, number>()
  #nextDue = Infinity
  /** Positions that are probably first of their key and due: taken without looking for them. */
  readonly #next = new Set<string>()
  #turn = 0

  constructor(connection: Connection, queue: QueueName, state: HeldQueueState) {
    this.#connection = connection
    this.#queue = queue
    this.#state = state
    this.#settler = new Settler({
      ...recording(connection, queue.id),
      failed: (error) => state.failed('recording what became of messages', error, state.closing),
      refused: (error, count) => state.refused(error, count),
      signal: state.closing,
      stopping: state.stopping,
      onNext: (positions) => this.#follow(positions),
    })
  }

  async listen(ring: () => void, signal: AbortSignal): Promise<void> {
    const stop = this.#connection.onRing((rung) => {
      if (rung === undefined || rung === this.#queue.id) ring()
    })
    await aborted(signal)
    stop()
  }

  get #now(): number {
    return this.#connection.settings.clock.monotonic()
  }

  nextDueMs(): number {
    return Math.min(this.#nextDue, this.#window.fullAt) - this.#now
  }

  /**
   * First what is known to come next, but so that it cannot keep the hands full for ever; then what
   * a look finds.
   */
  async take(limit: number): Promise<Taken<TakenRow>> {
    const { behind } = this.#settler
    if (behind !== undefined) {
      await Promise.race([behind, aborted(this.#state.stopping)])
      return { messages: [], more: true }
    }
    this.#recallRetries()
    const token = randomUUID()
    const share = limit > 1 ? Math.ceil(limit / 2) : this.#turn++ % 2
    const known = [...this.#next].slice(0, share)
    for (const position of known) this.#next.delete(position)
    const fetch = async (query: Query): Promise<Taken<TakenRow>> => {
      const bounds = { limit: known.length, token, bytes: CLAIM_BYTES }
      const first = known.length === 0 ? [] : await this.#rows(query, 'takeThese', bounds, known)
      const left = new Set(known)
      for (const { position } of first) left.delete(position)
      if (bytesOf(first) >= CLAIM_BYTES) for (const position of left) this.#next.add(position)
      return await this.#lookOn(query, { messages: first, more: false }, { ...bounds, limit })
    }
    const { messages, more } = await this.#connection.own.transaction('fetching messages', fetch, {
      inOrder: true,
    })
    const inOrder = messages.toSorted((left, right) =>
      BigInt(left.position) < BigInt(right.position) ? -1 : 1,
    )
    return { messages: inOrder, more: more || this.#next.size > 0 }
  }

  /** Retries that are due by now need not be looked for. */
  #recallRetries(): void {
    if (this.#nextDue > this.#now) return
    this.#nextDue = Infinity
    for (const [position, due] of this.#retries) {
      if (due > this.#now) this.#nextDue = Math.min(this.#nextDue, due)
      else {
        this.#retries.delete(position)
        this.#next.add(position)
      }
    }
    this.#window.wantFull()
  }

  /** A stretch of a full look that has not come to the end is followed by a look at what is new. */
  async #lookOn(
    query: Query,
    known: Taken<TakenRow>,
    { limit, token }: Bounds,
  ): Promise<Taken<TakenRow>> {
    const rest = ({ messages }: Taken<TakenRow>): Bounds => ({
      limit: limit - messages.length,
      token,
      bytes: CLAIM_BYTES - bytesOf(messages),
    })
    const stretch = this.#window.plan(this.#now)
    const found = joined(known, await this.#look(query, rest(known), stretch))
    return stretch.full && found.more
      ? joined(found, await this.#look(query, rest(found), this.#window.front()))
      : found
  }

  /** `more`: hands, bytes or the stretch came to their end before the queue did. */
  async #look(query: Query, bounds: Bounds, stretch: Stretch): Promise<Taken<TakenRow>> {
    if (bounds.limit <= 0 || bounds.bytes <= 0) return { messages: [], more: true }
    const startedAt = this.#now
    const from = stretch.from.toString()
    const { sql } = this.#connection
    const { rows: found } = await (stretch.rows === undefined
      ? query<Bound>(sql.end, [this.#queue.id])
      : query<Bound>(sql.stretch, [this.#queue.id, from, stretch.rows]))
    const [end, upTo] = [BigInt(found[0]?.end ?? 0), found[0]?.up_to ?? undefined]
    if (end < stretch.from && !stretch.full) return { messages: [], more: false }
    const rows = await this.#rows(query, 'takeFrom', bounds, from, upTo ?? LAST_POSITION)
    const positions = rows.map(({ position }) => BigInt(position))
    const isFull = rows.length >= bounds.limit || bytesOf(rows) >= bounds.bytes
    this.#window.looked({
      stretch,
      upTo: upTo === undefined ? undefined : BigInt(upTo),
      end,
      highest: isFull
        ? positions.reduce((left, right) => (left > right ? left : right), 0n)
        : undefined,
      startedAt,
      endedAt: this.#now,
    })
    return { messages: rows, more: isFull || upTo !== undefined }
  }

  async #rows(
    query: Query,
    statement: 'takeFrom' | 'takeThese',
    { limit, token, bytes }: Bounds,
    which: string | readonly string[],
    ...before: readonly string[]
  ): Promise<TakenRow[]> {
    const { sql, settings } = this.#connection
    const largest = Math.min(
      Math.max(LARGEST_ROW_BYTES, settings.maxMessageBytes),
      MOST_FETCHED_BYTES,
    )
    const values = [
      this.#queue.id,
      limit,
      settings.visibilityMs,
      token,
      bytes,
      which,
      largest,
      ...before,
    ]
    return (await query<Omit<TakenRow, 'token'>>(sql[statement], values)).rows.map((row) => ({
      ...row,
      token,
    }))
  }

  deliveryOf(row: TakenRow, signal: AbortSignal): Delivery | Reject {
    return deliveryOf(row, this.#queue.name, signal)
  }

  async renew(rows: readonly TakenRow[]): Promise<ReadonlySet<TakenRow>> {
    const { own, sql, settings } = this.#connection
    const values = [
      this.#queue.id,
      rows.map(({ position }) => position),
      rows.map(({ token }) => token),
      settings.visibilityMs,
    ]
    const { rows: renewed } = await own.run<{ position: string }>(
      'keeping hold of messages',
      sql.renew,
      values,
    )
    const kept = new Set(renewed.map(({ position }) => position))
    return new Set(rows.filter(({ position }) => kept.has(position)))
  }

  async settle(row: TakenRow, disposition: Disposition): Promise<void> {
    if (row.withheld_bytes !== null && disposition.kind === 'reject')
      return await this.#bury(row, disposition)
    await this.#settler.settle(row, disposition)
    this.#afterwards(row, disposition)
  }

  /**
   * A message that was too large to be read. To move it may take longer than everything else: in a
   * transaction of its own, and not renewed meanwhile, since the row is locked. Should that fail,
   * it comes again.
   */
  async #bury(row: TakenRow, reject: Reject): Promise<void> {
    try {
      this.#follow(await buryLarge(this.#connection, this.#queue.id, row, reject))
    } catch (error) {
      this.#state.warn('giving up a message that is too large', error)
    }
  }

  /** The message may come again, soon or later. */
  #afterwards({ position }: TakenRow, disposition: Disposition): void {
    if (disposition.kind !== 'retry' && disposition.kind !== 'release') return
    const delayMs = disposition.kind === 'retry' ? delayOf(disposition.delayMs) : 0
    if (delayMs === 0) return this.#follow([position])
    const due = this.#now + delayMs + 1
    if (this.#retries.size < MOST_RETRIES) this.#retries.set(position, due)
    this.#nextDue = Math.min(this.#nextDue, due)
    this.#state.ring()
  }

  #follow(positions: readonly string[]): void {
    if (positions.length === 0) return
    for (const position of positions) this.#next.add(position)
    if (this.#state.stopping.aborted) this.#connection.ring([this.#queue.id])
    this.#state.ring()
  }
}

function joined(before: Taken<TakenRow>, next: Taken<TakenRow>): Taken<TakenRow> {
  return { messages: [...before.messages, ...next.messages], more: next.more }
}
