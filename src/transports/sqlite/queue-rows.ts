import { randomUUID } from 'node:crypto'
import { CLAIM_BYTES, LARGEST_ROW_BYTES } from '../../core/messages/bytes.ts'
import { driverFaultOf } from '../../core/errors/store-faults.ts'
import type { Delivery, Disposition } from '../../core/transport.ts'
import type { Connection } from '../../sql/sqlite/connection/connection.ts'
import type { Handle } from '../../sql/sqlite/connection/database.ts'
import type { WriteOptions } from '../../sql/sqlite/connection/group-commit.ts'
import { watch } from '../../sql/sqlite/connection/watch.ts'
import type { HeldQueueState } from '../shared/held-queue.ts'
import type { HeldMessages, Reject, Taken } from '../shared/receiving/held-messages.ts'
import { storedDelivery, type StoredRow } from '../queues/stored-delivery.ts'
import { withinClaim } from '../queues/within-claim.ts'
import { type Hands, offerHands } from './hand-over.ts'
import { putAside, settleDelivery } from './settle.ts'
import { queueSql } from './statements.ts'
import type { TakenRow } from './taken.ts'

export interface QueueRowsOptions {
  readonly connection: Connection
  readonly queue: string
  readonly visibilityMs: number
  readonly maxMessageBytes: number
}

/** A loss of power ends all consumers of the file, so that nobody holds anything any more. */
const heldByTheLiving = { repeatable: true }

/** The messages of one queue, as its rows are taken, renewed and settled. */
export class QueueRows implements HeldMessages<TakenRow> {
  readonly #connection: Connection
  readonly #options: QueueRowsOptions
  readonly #state: HeldQueueState<TakenRow>

  constructor(options: QueueRowsOptions, state: HeldQueueState<TakenRow>) {
    this.#connection = options.connection
    this.#options = options
    this.#state = state
  }

  async listen(ring: () => void, signal: AbortSignal): Promise<void> {
    const file = await this.#connection.open()
    const stop = offerHands(file, this.#options.queue, this.#hands())
    try {
      await watch(this.#connection, 'queue', ring, signal)
    } finally {
      stop()
    }
  }

  #hands(): Hands {
    const { clock } = this.#connection.settings
    const { visibilityMs } = this.#options
    return {
      idle: () => this.#state.idle(),
      holdTimes: () => ({
        visibleAt: Math.ceil(this.#now + visibilityMs),
        until: clock.monotonic() + visibilityMs,
      }),
      handOver: (row, until) => this.#state.handOver(row, until),
    }
  }

  nextDueMs(): number {
    const { queue } = this.#options
    const next = this.#connection.peek(
      (handle) => handle.get<{ at: number | null }>(queueSql.nextDue, { queue })?.at,
    )
    return (next ?? Infinity) - this.#now
  }

  async take(limit: number): Promise<Taken<TakenRow>> {
    const { queue, visibilityMs } = this.#options
    const due = this.#connection.peek(
      (handle) => handle.get(queueSql.anyDue, { queue, now: this.#now }) !== undefined,
    )
    if (due === false) return { messages: [], more: false }
    const token = randomUUID()
    const largest = this.#largest
    const rows = await this.#connection.write((handle) => {
      const now = this.#now
      const until = Math.ceil(now + visibilityMs)
      const positions = nextPositions(handle, { queue, now, limit, largest })
      return handle.all<Omit<TakenRow, 'token'>>(queueSql.take, {
        positions,
        until,
        token,
        largest,
      })
    }, heldByTheLiving)
    const read = rows.reduce((sum, row) => sum + (row.bytes > largest ? 0 : row.bytes), 0)
    return {
      messages: rows
        .toSorted((left, right) => left.position - right.position)
        .map((row) => ({ ...row, token })),
      more: rows.length >= limit || read >= CLAIM_BYTES,
    }
  }

  deliveryOf(row: TakenRow, signal: AbortSignal): Delivery | Reject {
    const stored: StoredRow = {
      ...row,
      withheldBytes: row.bytes > this.#largest ? row.bytes : undefined,
      postponedSince: row.postponed_since,
      deadReason: row.dead_reason,
      deadError: row.dead_error,
    }
    return storedDelivery(stored, this.#options.queue, signal)
  }

  /** One whose time ran out unnoticed, while nobody else took it, is still ours. */
  renew(rows: readonly TakenRow[]): Promise<ReadonlySet<TakenRow>> {
    return this.#connection.write((handle) => {
      const until = Math.ceil(this.#now + this.#options.visibilityMs)
      const kept = rows.filter(
        ({ position, token }) => handle.run(queueSql.renew, { position, token, until }).changes > 0,
      )
      return new Set(kept)
    }, heldByTheLiving)
  }

  async settle(row: TakenRow, disposition: Disposition): Promise<void> {
    const { closing, stopping } = this.#state
    while (!closing.aborted) {
      try {
        const more = await this.#connection.write(
          (handle) => settleDelivery(handle, row, disposition, this.#now),
          disposition.kind === 'ack' ? this.#asAck(row) : {},
        )
        if (more) this.#connection.notify('queue')
        return
      } catch (error) {
        if (disposition.kind === 'reject' && driverFaultOf(error) === undefined)
          return this.#putAside(row, disposition, error)
        await this.#state.failed('recording what became of a message', error, closing)
        // It comes again by itself, after its time.
        if (disposition.kind === 'release' && stopping.aborted) return
      }
    }
  }

  /**
   * Without it the message comes again, to an inbox that knows it. It may share the commit of what
   * is published next, unless a later message of its key waits for it.
   */
  #asAck({ position }: TakenRow): WriteOptions {
    const patient = this.#connection.peek((handle) => {
      return handle.get(queueSql.successor, { position }) === undefined
    })
    return { repeatable: true, patient: patient === true }
  }

  /** Its dead letter is refused, which is no matter of the file as a whole, such as a trigger. */
  async #putAside(row: TakenRow, reject: Reject, refusal: unknown): Promise<void> {
    const { closing } = this.#state
    this.#state.refused(refusal, 1)
    while (!closing.aborted) {
      try {
        return await this.#connection.write((handle) => putAside(handle, row, reject, this.#now))
      } catch (error) {
        await this.#state.failed('setting a message aside', error, closing)
      }
    }
  }

  get #now(): number {
    return this.#connection.settings.clock.now()
  }

  /** Messages with more bytes are not handed out. */
  get #largest(): number {
    return Math.max(LARGEST_ROW_BYTES, this.#options.maxMessageBytes)
  }
}

interface Wanted {
  readonly queue: string
  readonly now: number
  readonly limit: number
  readonly largest: number
}

/** The positions of the messages that come next, as JSON. */
function nextPositions(handle: Handle, wanted: Wanted): string {
  const rows = handle.all<{ position: number; bytes: number }>(queueSql.due, { ...wanted })
  const fits = withinClaim(rows, ({ bytes }) => bytes)
  return `[${fits.map(({ position }) => position).join()}]`
}
