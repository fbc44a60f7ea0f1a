import { EventEmitter } from 'node:events'
import type { PostgresPool, PostgresPoolClient, PostgresResult } from '../client.ts'

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
  const none = new EventEmitter()
  return {
    direct: true,
    connect: () => Promise.resolve(lend(db)),
    end: () => Promise.resolve(),
    on: none.on.bind(none),
    off: none.off.bind(none),
  }
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

function lend(db: PgliteDatabase): PostgresPoolClient {
  const events = new EventEmitter()
  const listening: (() => Promise<void>)[] = []
  let open: Transaction | undefined
  let released = false

  async function plain(text: string, values: unknown[]): Promise<Answer> {
    const statements = open?.statements ?? db
    try {
      // Only a text without parameters may hold several statements.
      const answer =
        values.length > 0
          ? await statements.query(text, values, asPg)
          : (await statements.exec(text, asPg)).at(-1)
      if (open !== undefined) open.failed = false
      return answer ?? { rows: [] }
    } catch (error) {
      if (open !== undefined) open.failed = true
      throw error
    }
  }

  async function end(wanted: 'commit' | 'rollback'): Promise<Answer> {
    const transaction = open
    open = undefined
    // What the server does with the COMMIT of a failed transaction.
    const how = transaction?.failed === false ? wanted : 'rollback'
    await transaction?.end(how)
    return { rows: [], command: how.toUpperCase() }
  }

  async function unlisten(): Promise<Answer> {
    for (const stop of listening.splice(0)) await stop()
    return { rows: [], command: 'UNLISTEN' }
  }

  async function run(text: string, values: unknown[]): Promise<Answer> {
    if (released) throw new Error('pglite: this client was released')
    const statement = text.trim().replace(/;$/, '')
    const beginning = BEGIN.exec(statement)
    if (beginning !== null && open === undefined) {
      open = await begin(db)
      const [, modes, rest = ''] = beginning
      const settings = `${modes === undefined ? '' : `set transaction ${modes};`}${rest}`
      if (settings !== '') await plain(settings, [])
      return { rows: [], command: 'BEGIN' }
    }
    if (/^commit$/i.test(statement)) return await end('commit')
    if (/^rollback$/i.test(statement)) return await end('rollback')
    if (/^unlisten \*$/i.test(statement)) return await unlisten()
    // The other clients share the connection, so that each keeps its own list of channels.
    const channel = LISTEN.exec(statement)?.[1]
    if (channel === undefined) return await plain(text, values)
    listening.push(
      await db.listen(channel, (payload) => events.emit('notification', { channel, payload })),
    )
    return { rows: [], command: 'LISTEN' }
  }

  async function query(
    statement: string | { text: string; values?: unknown[] },
    values: unknown[] = [],
  ): Promise<PostgresResult<never>> {
    const given = typeof statement === 'string' ? { text: statement, values } : statement
    const { rows, rowCount, command } = await run(given.text, given.values ?? [])
    return { rows: rows as never[], rowCount: rowCount ?? null, command: command ?? '' }
  }

  return {
    query,
    getTransactionStatus: () => (open === undefined ? 'I' : open.failed ? 'E' : 'T'),
    on: events.on.bind(events),
    off: events.off.bind(events),
    release() {
      released = true
      // A transaction that is still open dies with the loan, as it does when a connection is
      // closed. PGlite tells its next user of a failure.
      end('rollback').catch(() => {})
      unlisten().catch(() => {})
    },
  }
}
