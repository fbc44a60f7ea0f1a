import { errorText, errorTextWithStack } from '../../core/error-text.ts'
import type { Disposition } from '../../core/transport.ts'
import type { Query } from '../../sql/postgres/pool.ts'
import type { Connection } from './connection.ts'
import { delayOf } from './encode.ts'

/** Which row, and the proof that it is still ours. */
export interface Hold {
  readonly position: string
  readonly token: string
}

interface Waiting {
  readonly hold: Hold
  readonly disposition: Disposition
  readonly done: () => void
}

export interface SettlerOptions {
  /** Called, and awaited, before the next try. */
  readonly failed: (error: unknown) => Promise<void>
  /** After this nothing is tried any more. */
  readonly signal: AbortSignal
  /** Positions that may be the first ones of their keys now. */
  readonly onNext: (positions: readonly string[]) => void
}

type Kind<Name extends Disposition['kind']> = Extract<Disposition, { kind: Name }>

/** Most settlements of one transaction. */
const MOST = 1000

/**
 * Records what became of deliveries: those that come while a transaction is under way share the next
 * one. Not flushed to the disk before it is answered: what a crash of the server undoes comes again,
 * as after any crash between handling and settling.
 */
export class Settler {
  readonly #connection: Connection
  readonly #queue: number
  readonly #failed: (error: unknown) => Promise<void>
  readonly #onNext: (positions: readonly string[]) => void
  readonly #signal: AbortSignal
  #waiting: Waiting[] = []
  #running = false

  constructor(connection: Connection, queue: number, options: SettlerOptions) {
    this.#connection = connection
    this.#queue = queue
    this.#failed = options.failed
    this.#onNext = options.onNext
    this.#signal = options.signal
  }

  /** Resolves when it is recorded, or turned out to be no longer ours, or is given up. Never rejects. */
  settle(hold: Hold, disposition: Disposition): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#waiting.push({ hold, disposition, done: resolve })
    if (!this.#running) void this.#run()
    return promise
  }

  async #run(): Promise<void> {
    this.#running = true
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, MOST)
      while (!this.#signal.aborted) {
        try {
          const record = (query: Query): Promise<readonly string[]> => this.#record(query, batch)
          this.#onNext(await this.#connection.own.transaction('settling messages', record, { durable: false }))
          break
        } catch (error) {
          await this.#failed(error)
        }
      }
      for (const { done } of batch) done()
    }
    this.#running = false
  }

  /** One statement per kind; a former holder changes nothing. Returns what comes next of the keys. */
  async #record(query: Query, batch: readonly Waiting[]): Promise<readonly string[]> {
    const { sql } = this.#connection
    const of = <Name extends Disposition['kind']>(kind: Name): Kind<Name>[] =>
      batch.flatMap(({ disposition }) => (disposition.kind === kind ? [disposition as Kind<Name>] : []))
    const next: string[] = []
    const run = async (kind: Disposition['kind'], ...more: readonly unknown[][]): Promise<void> => {
      const holds = batch.filter(({ disposition }) => disposition.kind === kind).map(({ hold }) => hold)
      if (holds.length === 0) return
      const values = [this.#queue, holds.map(({ position }) => position), holds.map(({ token }) => token), ...more]
      next.push(...(await query<{ position: string }>(sql[kind], values)).rows.map(({ position }) => position))
    }
    const [retried, rejected] = [of('retry'), of('reject')]
    await run('ack')
    await run(
      'retry',
      retried.map(({ delayMs }) => delayOf(delayMs)),
    )
    await run('release')
    await run(
      'reject',
      rejected.map(({ reason }) => errorText(reason)),
      rejected.map(({ error }) => errorTextWithStack(error)),
    )
    return next
  }
}
