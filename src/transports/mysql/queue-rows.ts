import { randomUUID } from 'node:crypto'
import type { Delivery, Disposition } from '../../core/transport.ts'
import { aborted } from '../../lib/async/abort.ts'
import { microseconds, textOf, textOrNull } from '../../sql/mysql/bytes.ts'
import { type Query, listsOf } from '../../sql/mysql/own.ts'
import type { HeldQueueState } from '../shared/held-queue.ts'
import type { HeldMessages, Reject, Taken } from '../shared/receiving/held-messages.ts'
import { type Hold, Settler } from '../queues/settler.ts'
import { storedDelivery, type StoredRow } from '../queues/stored-delivery.ts'
import { withinClaim } from '../queues/within-claim.ts'
import type { Connection } from './connection.ts'
import { recording } from './settle.ts'

export interface QueueName {
  readonly name: string
  /** Its number in its table. */
  readonly id: number
}

export type TakenRow = StoredRow & Hold

/** The messages of one queue, as its rows are taken, renewed and settled. */
export class QueueRows implements HeldMessages<TakenRow> {
  readonly #connection: Connection
  readonly #queue: QueueName
  readonly #state: HeldQueueState
  readonly #settler: Settler
  /** When the first message falls due, by our monotonic clock. */
  #nextDue = Infinity

  constructor(connection: Connection, queue: QueueName, state: HeldQueueState) {
    this.#connection = connection
    this.#queue = queue
    this.#state = state
    this.#settler = new Settler({
      ...recording(connection),
      failed: (error) => state.failed('recording what became of messages', error, state.closing),
      refused: (error, count) => state.refused(error, count),
      signal: state.closing,
      stopping: state.stopping,
      onNext: (positions) => {
        if (positions.length > 0) connection.bell.ring()
      },
    })
  }

  async listen(ring: () => void, signal: AbortSignal): Promise<void> {
    await this.#connection.bell.waker(ring, { signal })
  }

  get #now(): number {
    return this.#connection.settings.clock.monotonic()
  }

  nextDueMs(): number {
    return this.#nextDue - this.#now
  }

  async take(limit: number): Promise<Taken<TakenRow>> {
    const { behind } = this.#settler
    if (behind !== undefined) {
      await Promise.race([behind, aborted(this.#state.stopping)])
      return { messages: [], more: true }
    }
    const own = await this.#connection.ready()
    const { sql } = this.#connection
    const doing = 'fetching messages'
    const { rows } = await own.run<{ wait: unknown }>(doing, sql.first, [this.#queue.id])
    const wait = rows[0] === undefined ? Infinity : Number(textOf(rows[0].wait))
    this.#nextDue = wait > 0 ? this.#now + wait : Infinity
    if (wait > 0) return { messages: [], more: false }
    return await own.transaction(doing, (query) => this.#takeDue(query, limit))
  }

  async #takeDue(query: Query, limit: number): Promise<Taken<TakenRow>> {
    const { sql, settings } = this.#connection
    const { rows } = await query<{ position: unknown; bytes: unknown }>(sql.lockDue, [
      this.#queue.id,
      limit,
    ])
    const fits = withinClaim(rows, (row) => {
      const size = Number(textOf(row.bytes))
      return size > this.#largest ? 0 : size
    })
    const positions = fits.map(({ position }) => textOf(position))
    const token = randomUUID()
    const messages: TakenRow[] = []
    for (const some of listsOf(positions)) {
      await query(sql.take, [microseconds(settings.visibilityMs), token, some.map(BigInt)])
      const large = this.#largest
      const read = await query<RawRow>(sql.read, [large, large, large, some.map(BigInt)])
      messages.push(...read.rows.map((row) => ({ ...storedRow(row), token })))
    }
    return { messages, more: rows.length >= limit || fits.length < rows.length }
  }

  /** Messages with more bytes are not handed out: they would not fit into a packet. */
  get #largest(): number {
    return this.#connection.largestBytes
  }

  deliveryOf(row: TakenRow, signal: AbortSignal): Delivery | Reject {
    return storedDelivery(row, this.#queue.name, signal)
  }

  /** One whose time ran out unnoticed, while nobody else took it, is still ours. */
  async renew(rows: readonly TakenRow[]): Promise<ReadonlySet<TakenRow>> {
    const { sql, settings } = this.#connection
    const own = await this.#connection.ready()
    const hold = microseconds(settings.visibilityMs)
    const kept = new Set<string>()
    await own.transaction('keeping hold of messages', async (query) => {
      kept.clear()
      for (const [token, mine] of Map.groupBy(rows, (row) => row.token))
        for (const numbers of listsOf(mine.map(({ position }) => BigInt(position)))) {
          await query(sql.renew, [hold, numbers, token])
          const held = await query<{ position: unknown; token: unknown }>(sql.held, [numbers])
          for (const row of held.rows)
            if (textOf(row.token) === token) kept.add(textOf(row.position))
        }
    })
    return new Set(rows.filter(({ position }) => kept.has(position)))
  }

  async settle(row: TakenRow, disposition: Disposition): Promise<void> {
    await this.#settler.settle(row, disposition)
    if (disposition.kind === 'ack' || disposition.kind === 'reject') return
    // Whoever else reads this queue may take it as well.
    if (this.#state.stopping.aborted) this.#connection.bell.ring()
    else this.#state.ring()
  }
}

type RawRow = Readonly<
  Record<
    | 'position'
    | 'attempts'
    | 'postponed_since'
    | 'dead_reason'
    | 'dead_error'
    | 'id'
    | 'type'
    | 'headers'
    | 'body'
    | 'withheld_bytes',
    unknown
  >
>

function storedRow(row: RawRow): StoredRow & Pick<Hold, 'position'> {
  const since = textOrNull(row.postponed_since)
  const withheld = textOrNull(row.withheld_bytes)
  return {
    position: textOf(row.position),
    attempts: Number(row.attempts),
    id: textOf(row.id),
    type: textOf(row.type),
    headers: textOf(row.headers),
    body: row.body as Uint8Array,
    withheldBytes: withheld === null ? undefined : Number(withheld),
    postponedSince: since === null ? null : Number(since),
    deadReason: textOrNull(row.dead_reason),
    deadError: textOrNull(row.dead_error),
  }
}
