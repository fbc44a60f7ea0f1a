import { MersalError } from '../../core/errors/errors.ts'
import { listen } from '../../sql/postgres/listen.ts'
import { migrate } from '../../sql/postgres/migrate.ts'
import { catchUp } from '../../sql/postgres/sequence.ts'
import { type Notifier, NOTIFY, notifier } from '../../sql/postgres/notifier.ts'
import { ownPool } from '../../sql/postgres/pool/own-pool.ts'
import { own, type Own } from '../../sql/postgres/pool/pool.ts'
import { watchConnections } from '../../sql/postgres/pool/watch-connections.ts'
import type { PostgresPool } from '../../sql/postgres/client.ts'
import { uuidv7 } from '../../lib/uuid.ts'
import { fulfilledWithin } from '../../lib/async/within.ts'
import type { PostgresQueueSettings } from './options.ts'
import { queueTables } from './schema.ts'
import { type QueueStatements, queueStatements } from './statements.ts'

/** Listen, take, settle, and two for publishing and for people. */
const CONNECTIONS = 5
/**
 * When the queue closes, statements under way have this long; then their connections are destroyed.
 */
const LAST_STATEMENTS_MS = 500

/**
 * The database of one transport: its connections, its tables, and the bell that rings for
 * consumers.
 */
export class Connection {
  readonly settings: PostgresQueueSettings
  readonly sql: QueueStatements
  readonly own: Own
  readonly #pool: PostgresPool
  readonly #forget: () => void
  readonly #listeners = new Set<(queue: number | undefined) => void>()
  readonly #rung = new Set<number>()
  readonly #bell: Notifier
  readonly #closing = new AbortController()
  readonly #me: string
  #ready: Promise<void> | undefined
  #listening: Promise<void> | undefined
  #closed: Promise<void> | undefined

  constructor(settings: PostgresQueueSettings) {
    this.settings = settings
    const { schema, pool, queuePool, clock } = settings
    this.#pool = queuePool ?? ownPool(pool, { most: CONNECTIONS, instead: 'queuePool' })
    this.#forget = watchConnections([this.#pool])
    this.own = own(this.#pool, schema)
    this.sql = queueStatements(schema)
    this.#me = uuidv7(clock.now())
    this.#bell = notifier(() => this.#notify(), clock)
  }

  get closed(): boolean {
    return this.#closing.signal.aborted
  }

  /** Brings the tables up to date, once; a failure is tried again by the next caller. */
  async ready(): Promise<void> {
    if (this.closed)
      throw new MersalError('MERSAL_STORE_FAILED', 'postgres queue: it has been closed')
    this.#ready ??= this.#prepare().catch((error: unknown) => {
      this.#ready = undefined
      throw error
    })
    await this.#ready
  }

  async #prepare(): Promise<void> {
    const { schema, migrate: mode } = this.settings
    await migrate(this.own, queueTables(schema), mode)
    if (mode === 'off') return
    // After a restore of the data alone, positions would come again and messages in the wrong
    // order.
    await catchUp(this.own, { schema, table: 'queue_message', column: 'position' })
    await catchUp(this.own, { schema, table: 'queue_dead', column: 'number' })
  }

  /**
   * Calls back when there may be messages for a queue (undefined: for any), until the returned
   * function is called.
   */
  onRing(listener: (queue: number | undefined) => void): () => void {
    this.#listeners.add(listener)
    this.#listening ??= this.#listen()
    return () => void this.#listeners.delete(listener)
  }

  /** There may be messages: rings here at once, and soon for the consumers of other processes. */
  ring(queues: readonly number[]): void {
    if (this.closed || queues.length === 0) return
    for (const queue of queues) {
      this.#rung.add(queue)
      this.#tell(queue)
    }
    this.#bell.notify()
  }

  close(): Promise<void> {
    this.#closing.abort()
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    const quiet = Promise.all([this.#bell[Symbol.asyncDispose](), this.#listening])
    await fulfilledWithin(this.settings.clock, LAST_STATEMENTS_MS, quiet)
    if (this.#pool !== this.settings.queuePool) await this.#pool.end()
    this.#forget()
  }

  get #channel(): string {
    return `${this.settings.schema}_queue`
  }

  #tell(queue: number | undefined): void {
    for (const listener of this.#listeners) listener(queue)
  }

  async #notify(): Promise<void> {
    const payload = `${this.#me}:${[...this.#rung].slice(0, 500).join(',')}`
    this.#rung.clear()
    await this.own.connection((query) => query(NOTIFY, [this.#channel, payload]))
  }

  async #listen(): Promise<void> {
    const { logger, clock, random, heartbeatMs } = this.settings
    const otherwise = 'consumers poll. Give queuePool a direct connection'
    const wake = listen({
      own: this.own,
      channel: this.#channel,
      logger,
      clock,
      random,
      heartbeatMs,
      otherwise,
    })
    await wake((payload) => this.#heard(payload), { signal: this.#closing.signal })
  }

  /** No payload: the connection is new, and anything may have happened. */
  #heard(payload: string | undefined): void {
    if (payload === undefined) return this.#tell(undefined)
    const [sender, queues = ''] = payload.split(':')
    if (sender === this.#me) return
    for (const queue of queues.split(',')) this.#tell(Number(queue))
  }
}
