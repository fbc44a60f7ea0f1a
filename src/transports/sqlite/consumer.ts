import { randomUUID } from 'node:crypto'
import { CLAIM_BYTES, LARGEST_ROW_BYTES } from '../../core/messages/bytes.ts'
import { errorFields } from '../../core/errors/error-text.ts'
import { MersalError } from '../../core/errors/errors.ts'
import type { Logger } from '../../core/telemetry.ts'
import type { Consumption, Disposition } from '../../core/transport.ts'
import type { Connection } from '../../stores/sqlite/connection/connection.ts'
import { bytes, damagedHeaders } from '../../sql/shared/rows.ts'
import { decodeHeaders } from '../../sql/headers.ts'
import { watch } from '../../stores/sqlite/connection/watch.ts'
import { driverFaultOf } from '../../core/errors/store-faults.ts'
import { seldom } from '../../lib/async/seldom.ts'
import { cannotBury, setAside } from '../shared/aside.ts'
import { deliver, inHand, type OnDelivery, postponedField } from '../shared/deliver.ts'
import { type Hold, putAside, settleDelivery } from './settle.ts'
import { queueSql } from './statements.ts'

export interface ConsumerPorts {
  readonly connection: Connection
  readonly visibilityMs: number
  readonly maxMessageBytes: number
  readonly pollIntervalMs: number
  readonly logger: Logger
}

interface TakenRow {
  readonly position: number
  readonly attempts: number
  readonly id: string
  readonly type: string
  readonly bytes: number
  readonly headers: string
  readonly body: Uint8Array
  readonly postponed_since: number | null
  /** It was set aside, since it could not be stored as a dead letter. */
  readonly dead_reason: string | null
  readonly dead_error: string | null
}

/** A message in the hands of the callback. */
interface Held extends Hold {
  readonly controller: AbortController
}

function tooLarge(bytes: number): MersalError {
  const text = `the row has ${bytes} bytes: this queue hands out no message as large. Its bytes are kept`
  return new MersalError('MERSAL_TOO_LARGE', text, { details: { bytes } })
}

/** After a failure of the database, in milliseconds. */
const PAUSE_MS = 250

/** Fetches messages of one queue and hands them to the callback, until it is disposed. */
export class Consumer implements AsyncDisposable {
  readonly #ports: ConsumerPorts
  readonly #consumption: Consumption
  readonly #onDelivery: OnDelivery
  readonly #held = new Set<Held>()
  readonly #running = inHand()
  readonly #fetching = new AbortController()
  readonly #closing = new AbortController()
  readonly #loops: Promise<unknown>[]
  /** An outage of an hour is sixty lines, and not thousands. */
  readonly #isNews: (text: string) => boolean
  #rung = Promise.withResolvers<void>()

  constructor(ports: ConsumerPorts, consumption: Consumption, onDelivery: OnDelivery) {
    this.#ports = ports
    this.#consumption = consumption
    this.#onDelivery = onDelivery
    this.#isNews = seldom(ports.connection.settings.clock, 60_000)
    this.#loops = [
      this.#fetchAll(),
      watch(ports.connection, 'queue', () => this.#ring(), this.#fetching.signal),
      this.#renewAll(),
    ]
  }

  /**
   * Stops fetching, then waits for the callbacks in progress and for what they decided to be
   * recorded.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#fetching.abort()
    this.#ring()
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
    this.#fetching.abort()
    this.#closing.abort()
    this.#ring()
    for (const held of this.#held) held.controller.abort()
    await Promise.all(this.#loops)
  }

  #ring(): void {
    this.#rung.resolve()
  }

  /** Messages with more bytes are not handed out. */
  get #largest(): number {
    return Math.max(LARGEST_ROW_BYTES, this.#ports.maxMessageBytes)
  }

  async #fetchAll(): Promise<void> {
    const { signal } = this.#fetching
    while (!signal.aborted) {
      this.#rung = Promise.withResolvers()
      const free = this.#consumption.concurrency - this.#held.size
      try {
        const more = free > 0 && (await this.#take(free))
        if (!more) await this.#rest(free > 0)
      } catch (error) {
        this.#failed('fetching messages', error)
        await this.#ports.connection.settings.clock.sleep(PAUSE_MS, signal)
      }
    }
  }

  /**
   * Until somebody rings, a message falls due, or the poll interval has passed; with full hands
   * only until somebody rings.
   */
  async #rest(untilDue: boolean): Promise<void> {
    if (!untilDue) return this.#rung.promise
    const { connection, pollIntervalMs } = this.#ports
    const { clock } = connection.settings
    const { queue } = this.#consumption
    const next = connection.peek(
      (handle) => handle.get<{ at: number | null }>(queueSql.nextDue, { queue })?.at,
    )
    const wait = Math.min(
      Math.max((next ?? Number.MAX_SAFE_INTEGER) - clock.now(), 1),
      pollIntervalMs,
    )
    const timer = new AbortController()
    await Promise.race([this.#rung.promise, clock.sleep(wait, timer.signal)])
    timer.abort('done')
  }

  /**
   * Returns whether there may be more that is due: hands or bytes came to their end before the
   * queue did.
   */
  async #take(limit: number): Promise<boolean> {
    const { connection, visibilityMs } = this.#ports
    const { clock } = connection.settings
    const { queue } = this.#consumption
    const due = connection.peek(
      (handle) => handle.get(queueSql.anyDue, { queue, now: clock.now() }) !== undefined,
    )
    if (due === false) return false
    const token = randomUUID()
    const largest = this.#largest
    const rows = await connection.write((handle) => {
      const now = clock.now()
      return handle.all<TakenRow>(queueSql.take, {
        queue,
        now,
        until: Math.ceil(now + visibilityMs),
        token,
        limit,
        largest,
      })
    })
    for (const row of rows.toSorted((left, right) => left.position - right.position))
      this.#hold(row, token)
    const read = rows.reduce((sum, { bytes }) => sum + (bytes > largest ? 0 : bytes), 0)
    return rows.length >= limit || read >= CLAIM_BYTES
  }

  #hold(row: TakenRow, token: string): void {
    const held: Held = { position: row.position, token, controller: new AbortController() }
    this.#held.add(held)
    this.#running.add(this.#deliver(row, held))
  }

  async #deliver(row: TakenRow, held: Held): Promise<void> {
    const disposition: Disposition = this.#fetching.signal.aborted
      ? { kind: 'release' }
      : await this.#call(row, held)
    // The hands are free, so the next fetch can share the commit of this settlement.
    const settled = this.#settle(held, disposition)
    this.#ring()
    await settled
  }

  async #call(row: TakenRow, held: Held): Promise<Disposition> {
    // Given up before: only its dead letter is missing.
    if (row.dead_reason !== null) return setAside(row.dead_reason, row.dead_error)
    if (row.bytes > this.#largest)
      return { kind: 'reject', reason: 'too-large', error: tooLarge(row.bytes) }
    const headers = decodeHeaders(row.headers)
    if (headers === undefined)
      return { kind: 'reject', reason: 'malformed', error: damagedHeaders() }
    const message = { id: row.id, type: row.type, headers, body: bytes(row.body) }
    const { queue } = this.#consumption
    return await deliver(this.#onDelivery, {
      message,
      queue,
      attempt: row.attempts,
      ...postponedField(row.postponed_since),
      signal: held.controller.signal,
    })
  }

  /** Tries until it is recorded, or the message is lost, or the consumer is closed by force. */
  async #settle(held: Held, disposition: Disposition): Promise<void> {
    const { connection } = this.#ports
    const { clock } = connection.settings
    this.#held.delete(held)
    while (!this.#closing.signal.aborted) {
      try {
        const more = await connection.write((handle) =>
          settleDelivery(handle, held, disposition, clock.now()),
        )
        if (more) connection.notify('queue')
        return
      } catch (error) {
        if (disposition.kind === 'reject' && driverFaultOf(error) === undefined)
          return this.#putAside(held, disposition, error)
        this.#failed('recording what became of a message', error)
        // It comes again by itself, after its time.
        if (disposition.kind === 'release' && this.#fetching.signal.aborted) return
        await clock.sleep(PAUSE_MS, this.#closing.signal)
      }
    }
  }

  /** Its dead letter is refused, which is no matter of the file as a whole, such as a trigger. */
  async #putAside(
    held: Held,
    disposition: Disposition & { kind: 'reject' },
    refusal: unknown,
  ): Promise<void> {
    const { connection, logger } = this.#ports
    if (this.#isNews('refused'))
      logger.error(
        { queue: this.#consumption.queue, ...errorFields(refusal) },
        `sqlite queue: ${cannotBury}`,
      )
    while (!this.#closing.signal.aborted) {
      try {
        return await connection.write((handle) =>
          putAside(handle, held, disposition, connection.settings.clock.now()),
        )
      } catch (error) {
        this.#failed('setting a message aside', error)
        await connection.settings.clock.sleep(PAUSE_MS, this.#closing.signal)
      }
    }
  }

  async #renewAll(): Promise<void> {
    const { connection, visibilityMs } = this.#ports
    const { signal } = this.#closing
    for (;;) {
      await connection.settings.clock.sleep(visibilityMs / 3, signal)
      if (signal.aborted) return
      if (this.#held.size > 0) await this.#renew([...this.#held])
    }
  }

  /**
   * A message is lost only if another consumer has taken it. One whose time ran out unnoticed is
   * still ours.
   */
  async #renew(all: readonly Held[]): Promise<void> {
    const { connection, visibilityMs } = this.#ports
    try {
      const lost = await connection.write((handle) => {
        const until = Math.ceil(connection.settings.clock.now() + visibilityMs)
        return all.filter(
          ({ position, token }) =>
            handle.run(queueSql.renew, { position, token, until }).changes === 0,
        )
      })
      for (const held of lost) if (this.#held.has(held)) held.controller.abort()
    } catch (error) {
      this.#failed('keeping hold of messages', error)
    }
  }

  #failed(doing: string, error: unknown): void {
    const fields = { queue: this.#consumption.queue, ...errorFields(error) }
    this.#ports.logger[this.#isNews(`${doing} ${fields.code}`) ? 'warn' : 'debug'](
      fields,
      `sqlite queue: ${doing} failed, trying again`,
    )
  }
}
