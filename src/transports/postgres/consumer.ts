import { randomUUID } from 'node:crypto'
import { CLAIM_BYTES, LARGEST_ROW_BYTES } from '../../core/messages/bytes.ts'
import type { Consumption, Disposition } from '../../core/transport.ts'
import { errorFields } from '../../core/errors/error-text.ts'
import { aborted } from '../../lib/async/abort.ts'
import { backoffMs } from '../../lib/async/backoff.ts'
import { MOST_FETCHED_BYTES } from '../../sql/postgres/fetched-bytes.ts'
import type { Connection } from './connection.ts'
import { buryLarge } from './bury-large.ts'
import { delayOf } from './encode.ts'
import type { Query } from '../../sql/postgres/pool/pool.ts'
import { seldom } from '../../lib/async/seldom.ts'
import { cannotBury } from '../shared/aside.ts'
import { deliver, inHand, type OnDelivery } from '../shared/deliver.ts'
import { type Hold, Settler } from './settler.ts'
import { type Bounds, bytesOf, deliveryOf, type Taken, type TakenRow } from './taken.ts'
import { Window } from './window.ts'

/** A message in the hands of the callback. */
interface Held extends Hold {
  readonly controller: AbortController
  /** Until when the database keeps it for us, by our monotonic clock. */
  until: number
}

/** After failures of the database. */
const PAUSE = { firstMs: 250, longestMs: 10_000 }

/** Fetches messages of one queue and hands them to the callback, until it is disposed. */
export class Consumer implements AsyncDisposable {
  readonly #connection: Connection
  readonly #consumption: Consumption
  /** Number of the queue in its table. */
  readonly #queue: number
  readonly #onDelivery: OnDelivery
  readonly #held = new Set<Held>()
  readonly #running = inHand()
  readonly #fetching = new AbortController()
  readonly #closing = new AbortController()
  readonly #settler: Settler
  readonly #loops: Promise<unknown>[]
  readonly #deaf: () => void
  #rung = Promise.withResolvers<void>()
  /**
   * When the next retry of ours falls due, by our monotonic clock. Everything else is found by ring
   * or poll.
   */
  #nextDue = Infinity
  #failures = 0
  readonly #window = new Window()
  /** An outage of an hour is sixty lines, and not thousands. */
  readonly #isNews: (text: string) => boolean
  /** Positions that are probably first of their key and due: taken without looking for them. */
  readonly #next = new Set<string>()
  #turn = 0

  constructor(
    connection: Connection,
    queue: number,
    consumption: Consumption,
    onDelivery: OnDelivery,
  ) {
    this.#connection = connection
    this.#queue = queue
    this.#consumption = consumption
    this.#onDelivery = onDelivery
    this.#isNews = seldom(connection.settings.clock, 60_000)
    this.#settler = new Settler(connection, queue, {
      failed: (error) =>
        this.#failed('recording what became of messages', error, this.#closing.signal),
      refused: (error, count) => this.#refused(error, count),
      signal: this.#closing.signal,
      stopping: this.#fetching.signal,
      onNext: (positions) => this.#follow(positions),
    })
    this.#deaf = connection.onRing((rung) => {
      if (rung === undefined || rung === queue) this.#ring()
    })
    this.#loops = [this.#fetchAll(), this.#renewAll()]
  }

  /**
   * Stops fetching, then waits for the callbacks in progress and for what they decided to be
   * recorded.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopFetching()
    await this.#loops[0]
    await this.#running.settled()
    this.#closing.abort()
    await Promise.all(this.#loops)
  }

  /**
   * Aborts the signals of all deliveries and waits for nothing but the loops; the messages come
   * again after their time.
   */
  async breakOff(): Promise<void> {
    this.#stopFetching()
    this.#closing.abort()
    for (const held of this.#held) held.controller.abort()
    await Promise.all(this.#loops)
  }

  #stopFetching(): void {
    this.#fetching.abort()
    this.#deaf()
    this.#ring()
  }

  #ring(): void {
    this.#rung.resolve()
  }

  get #now(): number {
    return this.#connection.settings.clock.monotonic()
  }

  async #fetchAll(): Promise<void> {
    const { signal } = this.#fetching
    while (!signal.aborted) {
      this.#rung = Promise.withResolvers()
      const free = this.#consumption.concurrency - this.#held.size
      const { behind } = this.#settler
      if (behind !== undefined) {
        await Promise.race([behind, aborted(signal)])
        continue
      }
      try {
        const more = free > 0 && (await this.#take(free))
        if (free > 0) this.#failures = 0
        if (free <= 0 || (!more && this.#next.size === 0)) await this.#rest(free > 0)
      } catch (error) {
        await this.#failed('fetching messages', error, signal)
      }
    }
  }

  /**
   * Until somebody rings, a retry falls due, or the poll interval has passed; with full hands only
   * until somebody rings.
   */
  async #rest(untilDue: boolean): Promise<void> {
    if (!untilDue) return this.#rung.promise
    const { clock, pollIntervalMs } = this.#connection.settings
    const wait = Math.min(
      Math.max(Math.min(this.#nextDue, this.#window.fullAt) - this.#now, 1),
      pollIntervalMs,
    )
    const timer = new AbortController()
    await Promise.race([this.#rung.promise, clock.sleep(wait, timer.signal)])
    timer.abort('done')
    if (this.#nextDue > this.#now) return
    this.#nextDue = Infinity
    this.#window.wantFull()
  }

  /**
   * First what is known to come next, but so that it cannot keep the hands full for ever; then what
   * a look finds. Returns whether there may be more.
   */
  async #take(limit: number): Promise<boolean> {
    const token = randomUUID()
    const until = this.#now + this.#connection.settings.visibilityMs
    const share = limit > 1 ? Math.ceil(limit / 2) : this.#turn++ % 2
    const known = [...this.#next].slice(0, share)
    for (const position of known) this.#next.delete(position)
    const fetch = async (query: Query): Promise<Taken> => {
      const bounds = { limit: known.length, token, bytes: CLAIM_BYTES }
      const first = known.length === 0 ? [] : await this.#rows(query, 'takeThese', bounds, known)
      const left = new Set(known)
      for (const { position } of first) left.delete(position)
      if (bytesOf(first) >= CLAIM_BYTES) for (const position of left) this.#next.add(position)
      const rest = await this.#look(query, {
        limit: limit - first.length,
        token,
        bytes: CLAIM_BYTES - bytesOf(first),
      })
      return { rows: [...first, ...rest.rows], more: rest.more }
    }
    const { rows, more } = await this.#connection.own.transaction('fetching messages', fetch, {
      inOrder: true,
    })
    for (const row of rows.toSorted((left, right) =>
      BigInt(left.position) < BigInt(right.position) ? -1 : 1,
    ))
      this.#hold(row, token, until)
    return more
  }

  async #look(query: Query, bounds: Bounds): Promise<Taken> {
    if (bounds.limit <= 0 || bounds.bytes <= 0) return { rows: [], more: true }
    const startedAt = this.#now
    const from = this.#window.plan(startedAt)
    const end =
      (await query<{ position: string }>(this.#connection.sql.end, [this.#queue])).rows[0]
        ?.position ?? '0'
    if (BigInt(end) < from) return { rows: [], more: false }
    const rows = await this.#rows(query, 'takeFrom', bounds, from.toString())
    const positions = rows.map(({ position }) => BigInt(position))
    const more = rows.length >= bounds.limit || bytesOf(rows) >= bounds.bytes
    const highest = !more
      ? undefined
      : positions.reduce((left, right) => (left > right ? left : right), 0n)
    this.#window.looked({ from, end: BigInt(end), highest, startedAt, endedAt: this.#now })
    return { rows, more }
  }

  async #rows(
    query: Query,
    statement: 'takeFrom' | 'takeThese',
    { limit, token, bytes }: Bounds,
    which: string | readonly string[],
  ): Promise<TakenRow[]> {
    const { sql, settings } = this.#connection
    const largest = Math.min(
      Math.max(LARGEST_ROW_BYTES, settings.maxMessageBytes),
      MOST_FETCHED_BYTES,
    )
    return (
      await query<TakenRow>(sql[statement], [
        this.#queue,
        limit,
        settings.visibilityMs,
        token,
        bytes,
        which,
        largest,
      ])
    ).rows
  }

  #follow(positions: readonly string[]): void {
    if (positions.length === 0) return
    for (const position of positions) this.#next.add(position)
    if (this.#fetching.signal.aborted) this.#connection.ring([this.#queue])
    this.#ring()
  }

  #hold(row: TakenRow, token: string, until: number): void {
    const held: Held = { position: row.position, token, until, controller: new AbortController() }
    this.#held.add(held)
    this.#running.add(this.#deliver(row, held))
  }

  async #deliver(row: TakenRow, held: Held): Promise<void> {
    if (row.withheld_bytes !== null) return await this.#bury(held, row.withheld_bytes)
    const disposition: Disposition = this.#fetching.signal.aborted
      ? { kind: 'release' }
      : await this.#call(row, held)
    // The hands are free, so the next fetch need not wait for this settlement.
    this.#held.delete(held)
    const settled = this.#settler.settle(held, disposition)
    this.#ring()
    await settled
    this.#afterwards(held, disposition)
  }

  /**
   * A message that was too large to be read. To move it may take longer than everything else: in a
   * transaction of its own, and not renewed meanwhile, since the row is locked. Should that fail,
   * it comes again.
   */
  async #bury(held: Held, bytes: string): Promise<void> {
    this.#held.delete(held)
    this.#ring()
    try {
      this.#follow(await buryLarge(this.#connection, this.#queue, held, bytes))
    } catch (error) {
      this.#warn('giving up a message that is too large', error)
    }
  }

  async #call(row: TakenRow, held: Held): Promise<Disposition> {
    const delivery = deliveryOf(row, this.#consumption.queue, held.controller.signal)
    return 'kind' in delivery ? delivery : await deliver(this.#onDelivery, delivery)
  }

  /** The message may come again, soon or later. */
  #afterwards({ position }: Held, disposition: Disposition): void {
    if (disposition.kind !== 'retry' && disposition.kind !== 'release') return
    const delayMs = disposition.kind === 'retry' ? delayOf(disposition.delayMs) : 0
    if (delayMs === 0) return this.#follow([position])
    this.#nextDue = Math.min(this.#nextDue, this.#now + delayMs + 1)
    this.#ring()
  }

  async #renewAll(): Promise<void> {
    const { clock, visibilityMs } = this.#connection.settings
    const { signal } = this.#closing
    for (;;) {
      await clock.sleep(visibilityMs / 3, signal)
      if (signal.aborted) return
      if (this.#held.size > 0) await this.#renew([...this.#held])
    }
  }

  /**
   * A message is lost if another consumer has taken it, or if the database could not be told in
   * time that we still hold it.
   */
  async #renew(all: readonly Held[]): Promise<void> {
    const { own, sql, settings } = this.#connection
    const until = this.#now + settings.visibilityMs
    let kept = new Set<string>()
    try {
      const values = [
        this.#queue,
        all.map(({ position }) => position),
        all.map(({ token }) => token),
        settings.visibilityMs,
      ]
      const { rows } = await own.run<{ position: string }>(
        'keeping hold of messages',
        sql.renew,
        values,
      )
      kept = new Set(rows.map(({ position }) => position))
    } catch (error) {
      this.#warn('keeping hold of messages', error)
      kept = new Set(all.filter((held) => held.until > this.#now).map(({ position }) => position))
      for (const held of all) if (!kept.has(held.position)) held.controller.abort()
      return
    }
    for (const held of all) {
      if (kept.has(held.position)) held.until = until
      else if (this.#held.has(held)) held.controller.abort()
    }
  }

  async #failed(doing: string, error: unknown, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return
    this.#warn(doing, error)
    this.#failures++
    const { clock, random } = this.#connection.settings
    await clock.sleep(backoffMs(PAUSE, this.#failures, random), signal)
  }

  #warn(doing: string, error: unknown): void {
    const fields = { queue: this.#consumption.queue, ...errorFields(error) }
    const level = this.#isNews(`${doing} ${fields.code}`) ? 'warn' : 'debug'
    this.#connection.settings.logger[level](fields, `postgres queue: ${doing} failed, trying again`)
  }

  #refused(error: unknown, messages: number): void {
    if (!this.#isNews('refused')) return
    const fields = { queue: this.#consumption.queue, messages, ...errorFields(error) }
    this.#connection.settings.logger.error(fields, `postgres queue: ${cannotBury}`)
  }
}
