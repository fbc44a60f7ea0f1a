import { randomUUID } from 'node:crypto'
import { causesOf, readProperty } from '../../core/errors/causes.ts'
import { MersalError } from '../../core/errors/errors.ts'
import { systemClock } from '../../lib/async/clock.ts'
import type { SqlExecutor } from '../session.ts'
import { transactionEnded } from './transaction-words.ts'

/**
 * A setting of the transaction on the server. It says which unit the transaction belongs to and
 * which of its messages are tied to it, as runs of numbers: `id,0-3,7-8`. A rollback to a savepoint
 * takes back what was set since then, and the end of the transaction all of it, whoever does that
 * and however. So it tells what nobody else can who does not see the statements.
 */
const SETTING = 'mersal.unit'
const now = `coalesce(pg_catalog.current_setting('${SETTING}', true), '')`
const BEGIN = `select pg_catalog.set_config('${SETTING}', $1::text, true) as unit`
const READ = `select ${now} as unit`
/**
 * $1 the end of the run before, $2 and $3 the new run, which goes on with that one if nothing was
 * taken back since.
 */
const MARK = `
select pg_catalog.set_config('${SETTING}', case
    when pg_catalog.right(s.v, pg_catalog.length($1::text)) = $1::text
    then pg_catalog.left(s.v, -pg_catalog.length($1::text)) || '-' || $3::text
    else s.v || ',' || $2::text || '-' || $3::text end, true) as unit
from (select ${now} as v) s`

/**
 * The longest wait of a send for its mark. It must not wait for ever: a cursor that is open on the
 * connection may wait for the send.
 */
const PATIENCE_MS = 200

/** The transaction of a unit that a library has opened, as savepoints need it. */
export interface OpenedUnit {
  readonly executor: SqlExecutor
  /** Ties the messages up to this number to whatever savepoints are open. Never rejects. */
  mark(number: number): Promise<void> | undefined
  /** The numbers whose marks are still there; undefined: all of them. */
  kept(): Promise<ReadonlySet<number> | undefined>
}

/** On PostgreSQL. */
export class LibraryUnit implements OpenedUnit {
  readonly executor: SqlExecutor
  readonly #library: string
  readonly #id = randomUUID()
  #marked = 0
  #wanted = 0
  #marking: Promise<void> | undefined
  #patient = true
  /** Why a mark could not be set although the transaction may be whole. */
  #lost: { readonly error: unknown } | undefined

  constructor(library: string, executor: SqlExecutor) {
    this.#library = library
    this.executor = executor
  }

  async begin(): Promise<void> {
    await this.executor.query(BEGIN, [`${this.#id},0-0`])
  }

  /** Sends the mark now, unless another one is on its way. */
  mark(number: number): Promise<void> | undefined {
    this.#wanted = number
    this.#marking ??= this.#markAll().finally(() => (this.#marking = undefined))
    return this.#patient ? this.#patiently(this.#marking) : undefined
  }

  /**
   * The numbers whose marks are still there; undefined: all of them. Throws unless this is the
   * transaction of the unit.
   */
  async kept(): Promise<ReadonlySet<number> | undefined> {
    await this.#marking
    const runs = await this.#read()
    if (this.#lost !== undefined) throw this.#unclear(this.#lost.error)
    if (runs.length === 1 && runs[0]?.last === this.#wanted) return undefined
    const kept = new Set<number>()
    for (const { first, last } of runs)
      for (let number = first; number <= last; number++) kept.add(number)
    return kept
  }

  /** The statements that `assertWhole` sends. */
  get questions(): readonly string[] {
    return [READ]
  }

  /** Throws unless this is the transaction of the unit, and can be committed. */
  async assertWhole(): Promise<void> {
    await this.#read()
  }

  async #read(): Promise<{ readonly first: number; readonly last: number }[]> {
    let unit: unknown
    try {
      unit = (await this.executor.query(READ)).rows[0]?.['unit']
    } catch (cause) {
      throw this.#failed(cause)
    }
    const [id, ...runs] = typeof unit === 'string' ? unit.split(',') : []
    if (id !== this.#id) throw transactionEnded(this.#library)
    return runs.map((run) => {
      const [first = 0, last = 0] = run.split('-').map(Number)
      return { first, last }
    })
  }

  async #markAll(): Promise<void> {
    while (this.#marked < this.#wanted) {
      const [before, first, last] = [this.#marked, this.#marked + 1, this.#wanted]
      this.#marked = last
      try {
        await this.executor.query(MARK, [`-${before}`, String(first), String(last)])
      } catch (error) {
        // In a transaction that has failed, the messages go with whatever savepoint takes that
        // back.
        if (!isAborted(error)) this.#lost ??= { error }
      }
    }
  }

  async #patiently(marking: Promise<void>): Promise<void> {
    const enough = new AbortController()
    const late = systemClock.sleep(PATIENCE_MS, enough.signal).then(() => enough.signal.aborted)
    const inTime = await Promise.race([marking.then(() => true), late])
    enough.abort('marked')
    if (!inTime) this.#patient = false
  }

  #failed(cause: unknown): MersalError {
    const text = `${this.#library}: a statement of this transaction had failed and its error was caught, so the server cannot commit it. Let the error through, or use savepoint()`
    return new MersalError('MERSAL_ROLLED_BACK', text, { cause })
  }

  #unclear(cause: unknown): MersalError {
    const text = `${this.#library}: it cannot be told whether a message belongs to a savepoint that was rolled back`
    return new MersalError('MERSAL_ROLLED_BACK', text, { cause })
  }
}

/**
 * The server runs nothing more in this transaction before a rollback. Some libraries show that in
 * the text alone.
 */
function isAborted(error: unknown): boolean {
  return causesOf(error).some(
    (one) =>
      readProperty(one, 'code') === '25P02' ||
      /25P02|current transaction is aborted/.test(String(readProperty(one, 'message'))),
  )
}

const units = new WeakMap<object, OpenedUnit>()

export function rememberUnit(tx: unknown, unit: OpenedUnit): void {
  if (isHandle(tx)) units.set(tx, unit)
}

export function libraryUnitOf(tx: unknown): OpenedUnit | undefined {
  return isHandle(tx) ? units.get(tx) : undefined
}

const isHandle = (tx: unknown): tx is object =>
  (typeof tx === 'object' || typeof tx === 'function') && tx !== null
