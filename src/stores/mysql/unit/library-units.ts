import { randomUUID } from 'node:crypto'
import { MersalError } from '../../../core/errors/errors.ts'
import type { UnitOfWork } from '../../../core/store.ts'
import type { Run, RunOptions } from '../../../sql/mysql/executor.ts'
import { textOf } from '../../../sql/mysql/bytes.ts'
import type { Answer } from '../../../sql/mysql/own.ts'
import { whole, wholeIn } from '../../../sql/mysql/whole.ts'
import type { Session, SqlExecutor, SqlValue } from '../../../sql/session.ts'
import { type CheckedUnit, openedUnits } from '../../../sql/sessions/handles.ts'
import { mysqlDialect } from '../../../sql/units/mysql-dialect.ts'
import { transactionEnded } from '../../../sql/units/transaction-words.ts'
import type { Place } from '../place.ts'
import type { Lane } from '../save.ts'

/** What the last statement changed, which every library hands out in another form. */
const CHANGED = `select ${whole('greatest(row_count(), 0)')} as changed, ${whole('last_insert_id()')} as position`

/** The placeholders of a library that cuts statements at numbers. */
function numbered(text: string): string {
  let number = 0
  return text.replaceAll('?', () => `$${++number}`)
}

type Rows = readonly Record<string, unknown>[]

/** Some libraries hand out the rows with their fields behind them. */
function rowsIn(rows: Rows): Rows {
  const [first] = rows as readonly unknown[]
  return Array.isArray(first) ? (first as Rows) : rows
}

/** What the rows of an insert say: none if it proved no transaction. */
function told(rows: Rows, tells: 'position' | 'hits'): Omit<Answer, 'rows'> {
  const [row] = rows
  const number = row === undefined ? 0n : wholeIn(row, tells)
  if (tells === 'hits')
    return { changed: row === undefined ? 0 : number > 1n ? 2 : 1, insertId: 0n }
  return { changed: rows.length, insertId: number }
}

function runWith<Tx>(session: Session<Tx>, tx: Tx, place: Place): Run {
  const executor = session.executor(tx)
  const form = session.cutsAtNumbers === true ? numbered : (text: string) => text
  const ask = async (text: string, values: readonly unknown[]): Promise<Rows> => {
    const given = values as readonly SqlValue[]
    return rowsIn((await executor.query(form(text), given)).rows)
  }
  const run = async (
    text: string,
    values: readonly unknown[],
    { tells }: RunOptions = {},
  ): Promise<Answer> => {
    if (tells === undefined) return { rows: await ask(text, values), changed: 0, insertId: 0n }
    if (place.server.kind === 'MariaDB')
      return { rows: [], ...told(await ask(`${text} returning ${RETURNED[tells]}`, values), tells) }
    // Sent in the same tick, so that nothing comes in between.
    const [result, counted] = await Promise.allSettled([ask(text, values), ask(CHANGED, [])])
    if (result.status === 'rejected') throw result.reason
    if (counted.status === 'rejected') throw counted.reason
    const [row] = counted.value
    const changed = Number(wholeIn(row, 'changed'))
    return { rows: [], changed, insertId: wholeIn(row, 'position') }
  }
  return run as Run
}

const RETURNED = {
  position: `${whole('position')} as position`,
  hits: `${whole('hits')} as hits`,
} as const

/** How the handles of a library are worked with. */
export function sessionLane<Tx>(session: Session<Tx>, place: Place): (tx: Tx) => Lane {
  return (tx) => ({ run: runWith(session, tx, place), asText: true, freshSnapshots: false })
}

/** Transactions that the library opens, whose statements nobody shows us. */
export function libraryUnits<Tx>(session: Session<Tx>, place: Place): UnitOfWork<Tx> {
  const { name, opening } = session
  const laneOf = sessionLane(session, place)
  if (opening === undefined) return () => Promise.reject(noUnits(name))
  return openedUnits({
    open: opening.open,
    lend: (tx) => opening.lend(tx, mysqlDialect),
    unitOn: (tx) => {
      const executor = session.executor(tx)
      return new LibraryUnit(name, place, { executor, run: laneOf(tx).run })
    },
  })
}

function noUnits(library: string): MersalError {
  return new MersalError(
    'MERSAL_INVALID_OPTIONS',
    `session: '${library}' opens no transactions on MySQL; use within(tx) with those of the library`,
    { details: { field: 'session' } },
  )
}

interface Statements {
  readonly executor: SqlExecutor
  readonly run: Run
}

/**
 * Each message leaves a row with its number in the transaction, which a rollback to a savepoint
 * takes along. The rows go before the commit. Whether this is still the transaction of the unit is
 * told by what the server has counted.
 */
class LibraryUnit implements CheckedUnit {
  readonly executor: SqlExecutor
  readonly #library: string
  readonly #place: Place
  readonly #run: Run
  readonly #id = randomUUID()
  #before: string | undefined
  #wanted = 0
  #tail: Promise<void> = Promise.resolve()
  /** Why a mark could not be left although the transaction may be whole. */
  #lost: { readonly error: unknown } | undefined

  constructor(library: string, place: Place, { executor, run }: Statements) {
    this.executor = executor
    this.#library = library
    this.#place = place
    this.#run = run
  }

  async begin(): Promise<void> {
    this.#before = (await this.#look()).counted
  }

  mark(number: number): Promise<void> {
    this.#wanted = number
    const { unitMark } = this.#place.tables
    const text = `insert into ${unitMark} (unit, number) values (?, ?)`
    const marking = this.#run(text, [this.#id, number]).then(
      () => {},
      (error: unknown) => void (this.#lost ??= { error }),
    )
    this.#tail = Promise.all([this.#tail, marking]).then(() => {})
    return this.#tail
  }

  async kept(): Promise<ReadonlySet<number> | undefined> {
    await this.#tail
    await this.assertWhole()
    if (this.#lost !== undefined) {
      const text = `${this.#library}: it cannot be told whether a message belongs to a savepoint that was rolled back`
      throw new MersalError('MERSAL_ROLLED_BACK', text, { cause: this.#lost.error })
    }
    if (this.#wanted === 0) return undefined
    const { unitMark } = this.#place.tables
    const found = await this.#run(
      `select ${whole('m.number')} as number from ${unitMark} m where m.unit = ?`,
      [this.#id],
    )
    await this.#run(`delete from ${unitMark} where unit = ?`, [this.#id])
    return new Set(found.rows.map((row) => Number(wholeIn(row, 'number'))))
  }

  /** The statements that `assertWhole` sends. */
  get questions(): readonly string[] {
    return [this.#question]
  }

  /** Throws unless this is the transaction of the unit, and can be committed. */
  async assertWhole(): Promise<void> {
    const { open, counted } = await this.#look()
    if (counted !== this.#before) throw transactionEnded(this.#library)
    if (open) return
    const text = `${this.#library}: an error of the server has rolled the transaction back, such as a deadlock; it was caught. Let the error through`
    throw new MersalError('MERSAL_ROLLED_BACK', text)
  }

  get #question(): string {
    const { inTransaction, sameUnit } = this.#place.server
    return `select ${whole(`if(${inTransaction}, 1, 0)`)} as open, cast(${sameUnit} as char) as counted`
  }

  async #look(): Promise<{ readonly open: boolean; readonly counted: string }> {
    const { rows } = await this.#run(this.#question, [])
    const [row] = rows
    return { open: wholeIn(row, 'open') === 1n, counted: textOf(row?.['counted']) }
  }
}
