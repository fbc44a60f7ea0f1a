import { MersalError } from '../../core/errors/errors.ts'
import { LARGEST_ROW_BYTES } from '../../core/messages/bytes.ts'
import { type Bell, bellOf } from '../../sql/mysql/bell.ts'
import { AROUND_BYTES } from '../../sql/mysql/bytes.ts'
import type { MysqlPool } from '../../sql/mysql/client.ts'
import { migrate } from '../../sql/mysql/migrate.ts'
import { queueTablesIn } from '../../sql/mysql/names.ts'
import { type Own, ownOn } from '../../sql/mysql/own.ts'
import { addressOf, ownPool } from '../../sql/mysql/own-pool.ts'
import { readServer, unfitness } from '../../sql/mysql/server.ts'
import type { MysqlQueueSettings } from './options.ts'
import { queueTables } from './schema.ts'
import { type QueueStatements, queueStatements } from './statements.ts'

/** Take, settle, renew, and two for publishing and for people. */
const CONNECTIONS = 5

/**
 * The database of one transport: its connections, its tables, and the bell that rings for the
 * consumers of this process.
 */
export class Connection {
  readonly settings: MysqlQueueSettings
  readonly sql: QueueStatements
  readonly bell: Bell
  readonly #own: Own
  readonly #pool: MysqlPool
  /** Rows with more bytes are not read. */
  largestBytes: number = LARGEST_ROW_BYTES
  #ready: Promise<void> | undefined
  #closed: Promise<void> | undefined

  constructor(settings: MysqlQueueSettings) {
    const { database, pool, queuePool } = settings
    this.settings = settings
    this.sql = queueStatements(queueTablesIn(database))
    this.bell = bellOf(`${addressOf(queuePool ?? pool)}/${database}/queue`)
    this.#pool =
      queuePool ?? ownPool(pool, { most: CONNECTIONS, where: 'mysqlQueue', instead: 'queuePool' })
    this.#own = ownOn(this.#pool, database)
  }

  /** Statements of tools, which look at the tables as they are. */
  get bare(): Own {
    return this.#own
  }

  /** Brings the tables up to date, once; a failure is tried again by the next caller. */
  async ready(): Promise<Own> {
    if (this.#closed !== undefined)
      throw new MersalError('MERSAL_STORE_FAILED', 'mysql queue: it has been closed')
    this.#ready ??= this.#prepare().catch((error: unknown) => {
      this.#ready = undefined
      throw error
    })
    await this.#ready
    return this.#own
  }

  async #prepare(): Promise<void> {
    const { database, migrate: mode, maxMessageBytes } = this.settings
    const facts = await readServer(this.#own)
    const unfit = unfitness(facts)
    if (unfit !== undefined) throw unfit
    const most = facts.packetBytes - AROUND_BYTES
    if (maxMessageBytes > most)
      throw new MersalError(
        'MERSAL_INVALID_OPTIONS',
        `mysqlQueue.maxMessageBytes: a packet of this server (max_allowed_packet) has room for messages of ${most} bytes: lower it, or raise that setting`,
        { details: { field: 'mysqlQueue.maxMessageBytes' } },
      )
    this.largestBytes = Math.min(Math.max(LARGEST_ROW_BYTES, maxMessageBytes), most)
    await migrate(this.#own, queueTables(database), mode)
  }

  close(): Promise<void> {
    this.#closed ??= this.#pool === this.settings.queuePool ? Promise.resolve() : this.#pool.end()
    return this.#closed
  }
}
