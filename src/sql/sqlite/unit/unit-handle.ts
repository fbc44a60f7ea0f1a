import { MersalError } from '../../../core/errors/errors.ts'
import { SavepointLog } from '../../units/savepoint-log.ts'
import { sqliteDialect } from '../../units/statement-scan.ts'
import {
  type Controls,
  controlsOf,
  handleRevoked,
  transactionEnded,
  transactionIsOurs,
} from '../../units/transaction-words.ts'
import { type Handle, lendAs, type SqliteDatabase } from '../connection/database.ts'
import { guardedStatement, guardedTags } from '../connection/guarded-statement.ts'
import type { Gate } from './gate.ts'
import { savepointFunction } from './savepoint-function.ts'

/** What a unit lends to its work in place of the handle itself. */
export interface UnitHandle {
  readonly tx: SqliteDatabase
  readonly log: SavepointLog
  /** Somebody has ended the transaction by a statement that did not pass here. */
  readonly ended: boolean
  /** Throws unless this is still the transaction that the unit has begun. */
  assertWhole(): void
  /** From now on `tx` and the statements that it has prepared do nothing. */
  revoke(): void
}

const MARK = 'mersal_unit'

/** What a unit sets stays set on its connection. */
const SETS_WAITING = /busy_timeout/i

const units = new WeakMap<object, UnitHandle>()

/** The handle that a unit has lent; undefined for one of somebody else. */
export function unitHandleOf(tx: unknown): UnitHandle | undefined {
  return typeof tx === 'object' && tx !== null ? units.get(tx) : undefined
}

/**
 * `shared`: somebody has the handle itself in his hands, so that the transaction gets a mark that
 * would go with it.
 */
export function unitHandle(handle: Handle, { shared }: { readonly shared: boolean }): UnitHandle {
  const state = new UnitState(handle, shared)
  const own = ownMembers(handle.native, state)
  const tx = new Proxy(handle.native, {
    get(target, name) {
      if (Object.hasOwn(own, name)) return own[name]?.()
      const value: unknown = Reflect.get(target, name, target)
      if (typeof value !== 'function' || name === 'constructor') return value
      // `pragma` of better-sqlite3.
      if (name === 'pragma') handle.neverWaits = false
      return (...given: unknown[]): unknown =>
        state.itself(state.run(undefined, () => Reflect.apply(value, target, given) as unknown))
    },
  })
  state.tx = tx
  lendAs(tx, handle)
  units.set(tx, state)
  return state
}

class UnitState implements UnitHandle, Gate {
  tx: SqliteDatabase
  readonly log = new SavepointLog()
  readonly iterations: Set<() => unknown> = new Set()
  readonly #handle: Handle
  readonly #marked: boolean
  #revoked = false
  #ended = false

  constructor(handle: Handle, marked: boolean) {
    this.#handle = handle
    this.#marked = marked
    this.tx = handle.native
    handle.rolledBackBy = undefined
    if (marked) handle.exec(`SAVEPOINT ${MARK}`)
  }

  get open(): boolean {
    return !this.#revoked && this.#handle.inTransaction
  }

  get ended(): boolean {
    return this.#ended || (!this.#revoked && this.#gone())
  }

  assertWhole(): void {
    if (!this.#ended && this.#handle.inTransaction) return
    if (this.#handle.rolledBackBy === undefined) throw transactionEnded('sqlite')
    const text =
      'sqlite: an error of SQLite has rolled the transaction back, such as a full disk or a conflict that says ROLLBACK; it was caught'
    throw new MersalError('MERSAL_ROLLED_BACK', text, { cause: this.#handle.rolledBackBy })
  }

  revoke(): void {
    if (this.#revoked) return
    for (const stop of this.iterations) stop()
    this.#ended = this.#gone() || !this.#hasMark()
    this.#revoked = true
  }

  admit(sql: string): Controls | undefined {
    this.#assertUsable()
    const controls = typeof sql === 'string' ? controlsOf(sql, sqliteDialect) : undefined
    if (SETS_WAITING.test(sql)) this.#handle.neverWaits = false
    const ending = controls?.all.find((control) => control.kind === 'ends')
    if (ending?.kind === 'ends') throw transactionIsOurs(`sqlite: ${ending.words.toUpperCase()}`)
    return controls
  }

  run<Result>(controls: Controls | undefined, statement: () => Result): Result {
    this.#assertUsable()
    const settle = controls === undefined ? undefined : this.log.issue(controls)
    try {
      const result = statement()
      settle?.(true)
      return result
    } catch (error) {
      settle?.(false)
      if (!this.#handle.inTransaction) this.#handle.rolledBackBy ??= error
      throw error
    }
  }

  /**
   * A method that answers with its own object, as better-sqlite3 has them, must not give out the
   * handle behind this one.
   */
  itself(result: unknown): unknown {
    return result === this.#handle.native ? this.tx : result
  }

  #gone(): boolean {
    return (
      this.#handle.isOpen && !this.#handle.inTransaction && this.#handle.rolledBackBy === undefined
    )
  }

  /**
   * False: the transaction is another one, which somebody has begun after he had ended that of the
   * unit.
   */
  #hasMark(): boolean {
    if (!this.#marked || !this.#handle.inTransaction) return true
    try {
      this.#handle.exec(`RELEASE ${MARK}`)
      return true
    } catch {
      return false
    }
  }

  #assertUsable(): void {
    if (this.#revoked) throw handleRevoked('sqlite')
    // Outside of a transaction each statement would be committed by itself.
    this.assertWhole()
  }
}

function ownMembers(native: SqliteDatabase, state: UnitState): Record<PropertyKey, () => unknown> {
  const close = (): never => {
    throw transactionIsOurs('sqlite: close() of the handle')
  }
  const exec = (sql: string): unknown => {
    const controls = state.admit(sql)
    return state.itself(state.run(controls, () => native.exec(sql)))
  }
  const prepare = (sql: string, ...more: []): object => {
    const controls = state.admit(sql)
    return guardedStatement(native.prepare(sql, ...more), controls, state)
  }
  const members: Record<PropertyKey, () => unknown> = {
    exec: () => exec,
    prepare: () => prepare,
    close: () => close,
    [Symbol.dispose]: () => close,
    isTransaction: () => ('isTransaction' in native ? state.open : undefined),
    inTransaction: () => ('inTransaction' in native ? state.open : undefined),
  }
  if ('transaction' in native) members['transaction'] = () => savepointFunction(native, state)
  if ('createTagStore' in native)
    members['createTagStore'] = () => (size?: number) => guardedTags(native, size, state)
  return members
}
