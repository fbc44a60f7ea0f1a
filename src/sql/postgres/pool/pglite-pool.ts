import { EventEmitter } from 'node:events'
import { checkShape } from '../../../core/options.ts'
import type { PostgresPool, PostgresPoolClient, PostgresResult } from '../client.ts'
import { oneConnection } from './one-connection.ts'

interface Answer {
  readonly rows: unknown[]
  readonly rowCount?: number
  readonly command?: string
}

interface AnswerOptions {
  readonly parsers?: Record<number, (text: string) => unknown>
}

interface Statements {
  // oxlint-disable-next-line typescript/no-explicit-any -- the library's own type of parameters, which a narrower one would not match
  query(text: string, values?: any[], options?: AnswerOptions): Promise<Answer>
  exec(text: string, options?: AnswerOptions): Promise<Answer[]>
}

/** The part of PGlite 0.5 that the pool uses. */
export interface PgliteDatabase extends Statements {
  transaction<Result>(work: (tx: Statements) => Promise<Result>): Promise<Result>
  listen(channel: string, callback: (payload: string) => void): Promise<() => Promise<void>>
}

/** As `pg` reads them: numbers of 8 bytes as text, bytes as a `Buffer`. */
const asPg: AnswerOptions = {
  parsers: { 17: (text) => Buffer.from(text.slice(2), 'hex'), 20: (text) => text },
}

const BEGIN = /^begin(?:\s+([^;]+))?(?:;([\s\S]*))?$/i
const LISTEN = /^listen\s+("(?:[^"]|"")+"|\w+)$/i

/**
 * A pool over PGlite: its clients take turns on the one connection that there is. A client that has
 * begun a transaction keeps all others waiting, and the rest of the program with them, until it
 * ends: PGlite's own rule for `db.transaction`, which every such transaction is. Use it for both
 * pools of the store: `postgres({ pool, relayPool: pool })`. PGlite stays yours to close. Its
 * statements cannot be cancelled, so time limits do not hold here.
 */
export function pglitePool(db: PgliteDatabase): PostgresPool {
  checkShape('pglitePool()', db, ['transaction', 'query', 'exec', 'listen'])
  const none = new EventEmitter()
  const pool: PostgresPool = {
    direct: true,
    connect: () => Promise.resolve(new PgliteClient(db)),
    end: () => Promise.resolve(),
    on: none.on.bind(none),
    off: none.off.bind(none),
  }
  oneConnection.add(pool)
  return pool
}

interface Transaction {
  readonly statements: Statements
  /** A statement has failed, and no savepoint has taken it back. */
  failed: boolean
  end(how: 'commit' | 'rollback'): Promise<void>
}

async function begin(db: PgliteDatabase): Promise<Transaction> {
  const started = Promise.withResolvers<Statements>()
  const ending = Promise.withResolvers<void>()
  const rolledBack = new Error('rolled back')
  const finished = db.transaction(async (tx) => {
    started.resolve(tx)
    await ending.promise
  })
  finished.catch(started.reject)
  const statements = await started.promise
  return {
    statements,
    failed: false,
    async end(how) {
      if (how === 'commit') ending.resolve()
      else ending.reject(rolledBack)
      await finished.catch((error: unknown) => {
        if (error !== rolledBack) throw error
      })
    },
  }
}

class PgliteClient implements PostgresPoolClient {
  readonly #db: PgliteDatabase
  readonly #events = new EventEmitter()
  readonly #listening: (() => Promise<void>)[] = []
  #open: Transaction | undefined
  #released = false

  readonly on = this.#events.on.bind(this.#events)
  readonly off = this.#events.off.bind(this.#events)

  constructor(db: PgliteDatabase) {
    this.#db = db
  }

  async query(
    statement: string | { text: string; values?: unknown[] },
    values: unknown[] = [],
  ): Promise<PostgresResult<never>> {
    const given = typeof statement === 'string' ? { text: statement, values } : statement
    const { rows, rowCount, command } = await this.#run(given.text, given.values ?? [])
    return { rows: rows as never[], rowCount: rowCount ?? null, command: command ?? '' }
  }

  getTransactionStatus(): 'I' | 'E' | 'T' {
    if (this.#open === undefined) return 'I'
    return this.#open.failed ? 'E' : 'T'
  }

  release(): void {
    this.#released = true
    // A transaction that is still open dies with the loan, as it does when a connection is closed.
    // PGlite tells its next user of a failure.
    this.#end('rollback').catch(() => {})
    this.#unlisten().catch(() => {})
  }

  async #run(text: string, values: unknown[]): Promise<Answer> {
    if (this.#released) throw new Error('pglite: this client was released')
    const statement = text.trim().replace(/;$/, '')
    const beginning = BEGIN.exec(statement)
    if (beginning !== null && this.#open === undefined) {
      const [, modes, rest = ''] = beginning
      return await this.#begin(`${modes === undefined ? '' : `set transaction ${modes};`}${rest}`)
    }
    if (/^commit$/i.test(statement)) return await this.#end('commit')
    if (/^rollback$/i.test(statement)) return await this.#end('rollback')
    if (/^unlisten \*$/i.test(statement)) return await this.#unlisten()
    const channel = LISTEN.exec(statement)?.[1]
    return channel === undefined ? await this.#plain(text, values) : await this.#listen(channel)
  }

  async #plain(text: string, values: unknown[]): Promise<Answer> {
    const statements = this.#open?.statements ?? this.#db
    try {
      // Only a text without parameters may hold several statements.
      const answer =
        values.length > 0
          ? await statements.query(text, values, asPg)
          : (await statements.exec(text, asPg)).at(-1)
      if (this.#open !== undefined) this.#open.failed = false
      return answer ?? { rows: [] }
    } catch (error) {
      if (this.#open !== undefined) this.#open.failed = true
      throw error
    }
  }

  async #begin(settings: string): Promise<Answer> {
    this.#open = await begin(this.#db)
    if (settings !== '') await this.#plain(settings, [])
    return { rows: [], command: 'BEGIN' }
  }

  async #end(wanted: 'commit' | 'rollback'): Promise<Answer> {
    const transaction = this.#open
    this.#open = undefined
    // What the server does with the COMMIT of a failed transaction.
    const how = transaction?.failed === false ? wanted : 'rollback'
    await transaction?.end(how)
    return { rows: [], command: how.toUpperCase() }
  }

  /** The other clients share the connection, so that each keeps its own list of channels. */
  async #listen(channel: string): Promise<Answer> {
    this.#listening.push(
      await this.#db.listen(channel, (payload) =>
        this.#events.emit('notification', { channel, payload }),
      ),
    )
    return { rows: [], command: 'LISTEN' }
  }

  async #unlisten(): Promise<Answer> {
    for (const stop of this.#listening.splice(0)) await stop()
    return { rows: [], command: 'UNLISTEN' }
  }
}
