import { MersalError } from '../../../core/errors/errors.ts'
import { SavepointLog } from '../../../sql/units/savepoint-log.ts'
import { mayHide, mysqlDialect } from '../../../sql/units/mysql-dialect.ts'
import {
  type Controls,
  controlsOf,
  handleRevoked,
  transactionEnded,
  transactionIsOurs,
} from '../../../sql/units/transaction-words.ts'
import {
  type MysqlConnection,
  type MysqlPoolConnection,
  plainRows,
  saysOpen,
} from '../../../sql/mysql/client.ts'
import { isConflict } from '../../../sql/mysql/failure.ts'

/** What a unit lends to its work in place of the connection itself. */
export interface UnitHandle {
  readonly tx: MysqlConnection
  readonly log: SavepointLog
  /** What is known without asking the server. */
  readonly state: 'open' | 'failed' | 'over'
  readonly revoked: boolean
  /** Runs a statement of our own behind those of the work. */
  send<Result>(statement: (connection: MysqlConnection) => Promise<Result>): Promise<Result>
  /** Throws unless this is still the transaction that the unit has begun. */
  assertWhole(): Promise<void>
  /** Resolves when no statement is under way. */
  settled(): Promise<void>
  /** From now on `tx` and the statements that it has prepared do nothing. */
  revoke(): void
}

const units = new WeakMap<object, UnitHandle>()

/** The handle that a unit has lent; undefined for a connection of somebody else. */
export function unitHandleOf(tx: unknown): UnitHandle | undefined {
  return typeof tx === 'object' && tx !== null ? units.get(tx) : undefined
}

/** `sameUnit`: an expression, see `Server`. */
export function unitHandle(connection: MysqlPoolConnection, sameUnit: string): UnitHandle {
  const unit = new Unit(connection, sameUnit)
  units.set(unit.tx, unit)
  return unit
}

/** What may be called on the handle besides statements. */
const PASSING = new Set(['escape', 'escapeId', 'format', 'on', 'once', 'off', 'listenerCount'])
const REFUSED = new Set(
  'beginTransaction commit rollback release destroy end changeUser reset close'.split(' '),
)

class Unit implements UnitHandle {
  readonly tx: MysqlConnection
  readonly log = new SavepointLog()
  revoked = false
  readonly #connection: MysqlPoolConnection
  readonly #sameUnit: string
  /** Statements run one after the other: what failed may have ended the transaction. */
  #tail: Promise<unknown> = Promise.resolve()
  #ended = false
  #rolledBackBy: unknown
  /** A statement has failed since the server last said that the transaction is open. */
  #doubt: { readonly error: unknown } | undefined
  /** What the server counted before the first statement that may hide others. */
  #before: Promise<string> | undefined

  constructor(connection: MysqlPoolConnection, sameUnit: string) {
    this.#connection = connection
    this.#sameUnit = sameUnit
    this.tx = handleOn(connection, this)
  }

  get state(): 'open' | 'failed' | 'over' {
    if (this.#ended) return 'over'
    return this.#rolledBackBy === undefined ? 'open' : 'failed'
  }

  revoke(): void {
    this.revoked = true
  }

  async settled(): Promise<void> {
    await this.#tail
  }

  send<Result>(statement: (connection: MysqlConnection) => Promise<Result>): Promise<Result> {
    return this.#next(async () => {
      await this.#settleDoubt()
      return await this.#observed(() => statement(this.#connection))
    })
  }

  /** A statement of the work. */
  run(text: unknown, values: unknown, statement: () => Promise<unknown>): Promise<unknown> {
    const controls = this.admit(text)
    const hides =
      typeof text === 'string' && (holdsText(values) || (controls === undefined && mayHide(text)))
    const settle = controls === undefined ? undefined : this.log.issue(controls)
    const running = this.#next(async () => {
      await this.#settleDoubt()
      if (hides) await (this.#before ??= this.#count())
      return await this.#observed(statement)
    })
    if (settle !== undefined)
      running.then(
        () => settle(true),
        () => settle(false),
      )
    return running
  }

  /** Throws for a statement that would end the transaction. */
  admit(text: unknown): Controls | undefined {
    if (this.revoked) throw handleRevoked('mysql')
    const controls = typeof text === 'string' ? controlsOf(text, mysqlDialect) : undefined
    const ending = controls?.all.find((control) => control.kind === 'ends')
    if (ending?.kind === 'ends') throw transactionIsOurs(`mysql: ${ending.words.toUpperCase()}`)
    return controls
  }

  async assertWhole(): Promise<void> {
    await this.#next(async () => {
      await this.#settleDoubt()
      if (this.#before === undefined) return
      const [before, now] = [await this.#before, await this.#count()]
      if (before === now) return
      this.#ended = true
      throw transactionEnded('mysql')
    })
  }

  #next<Result>(work: () => Promise<Result>): Promise<Result> {
    const result = this.#tail.then(work)
    this.#tail = result.catch(() => {})
    return result
  }

  async #observed<Result>(statement: () => Promise<Result>): Promise<Result> {
    try {
      const answer = await statement()
      if (saysOpen(answer) === false) this.#ended = true
      return answer
    } catch (error) {
      // The server has undone everything; whatever came now would be committed by itself.
      if (isConflict(error)) this.#rolledBackBy ??= error
      this.#doubt = { error }
      throw error
    }
  }

  /** Asks after a failure whether the transaction has survived it. Throws if it has not. */
  async #settleDoubt(): Promise<void> {
    const { error } = this.#doubt ?? {}
    if (this.#doubt !== undefined && this.#rolledBackBy === undefined) {
      const open = saysOpen(await this.#connection.query('do 0'))
      if (open === false) this.#rolledBackBy = error
    }
    this.#doubt = undefined
    if (this.#rolledBackBy !== undefined) throw rolledBack(this.#rolledBackBy)
    if (this.#ended) throw transactionEnded('mysql')
  }

  async #count(): Promise<string> {
    const [[row]] = (await this.#connection.query({
      sql: `select cast(${this.#sameUnit} as char) as counted`,
      ...plainRows,
    })) as [{ counted: unknown }[]]
    return String(row?.counted)
  }
}

function rolledBack(cause: unknown): MersalError {
  const text =
    'mysql: an error of the server has rolled the transaction back, such as a deadlock; it was caught. Let the error through'
  return new MersalError('MERSAL_ROLLED_BACK', text, { cause })
}

const textOfQuery = (given: unknown): unknown =>
  typeof given === 'object' && given !== null ? (given as { sql?: unknown }).sql : given

const valuesOfQuery = (given: unknown): unknown =>
  typeof given === 'object' && given !== null ? (given as { values?: unknown }).values : undefined

/** Whether something in them is put into the statement as it is, as `raw()` of `mysql2` makes it. */
function holdsText(values: unknown, depth = 0): boolean {
  if (typeof values !== 'object' || values === null || values instanceof Uint8Array) return false
  if (typeof (values as { toSqlString?: unknown }).toSqlString === 'function') return true
  // A list of rows has their fields at this depth; `mysql2` looks no deeper.
  return depth < 3 && Object.values(values).some((value) => holdsText(value, depth + 1))
}

type Preparing = (this: void, given: unknown) => Promise<unknown>

function handleOn(connection: MysqlPoolConnection, unit: Unit): MysqlConnection {
  const own: Record<PropertyKey, unknown> = {}
  const statement =
    (method: 'query' | 'execute') =>
    async (...given: unknown[]): Promise<unknown> =>
      unit.run(textOfQuery(given[0]), given[1] ?? valuesOfQuery(given[0]), () =>
        connection[method](given[0], given[1]),
      )
  own['query'] = statement('query')
  own['execute'] = statement('execute')
  own['prepare'] = async (given: unknown): Promise<unknown> => {
    unit.admit(textOfQuery(given))
    const { prepare } = connection as unknown as { prepare: Preparing }
    const prepared = await unit.send(() => Reflect.apply(prepare, connection, [given]))
    return guarded(prepared as object, textOfQuery(given), unit)
  }
  own['ping'] = async (): Promise<unknown> => unit.send(() => connection.query('do 0'))
  return new Proxy(connection, {
    get(target, name) {
      if (Object.hasOwn(own, name)) return own[name]
      if (name === 'connection') return refusing(name)()
      if (typeof name === 'string' && REFUSED.has(name)) return refusing(name)
      const value: unknown = Reflect.get(target, name, target)
      if (typeof value !== 'function' || name === 'constructor') return value
      return PASSING.has(String(name)) ? (value.bind(target) as unknown) : refusing(String(name))
    },
    set: (_target, name, value) => {
      own[name] = value
      return true
    },
  })
}

/** A statement that the work has prepared, which lives no longer than the unit. */
function guarded(prepared: object, text: unknown, unit: Unit): object {
  const { execute } = prepared as { execute: Preparing }
  return new Proxy(prepared, {
    get(target, name) {
      if (name === 'execute')
        return async (values: unknown) =>
          unit.run(text, undefined, () => Reflect.apply(execute, target, [values]))
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
}

/** What would take the connection away from the unit, or get at it past the unit. */
function refusing(name: string): () => never {
  return () => {
    throw transactionIsOurs(`mysql: ${name}() of the connection`)
  }
}
