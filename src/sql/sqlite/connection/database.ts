/**
 * The part of a database handle that Mersal uses: `DatabaseSync` of `node:sqlite`, or `Database` of
 * better-sqlite3 from version 13. The two differ in the name of the transaction flag.
 */
export interface SqliteDatabase {
  exec(sql: string): unknown
  prepare(sql: string): object
  close(): unknown
  /** `node:sqlite`. */
  readonly isOpen?: boolean
  readonly isTransaction?: boolean
  /** better-sqlite3. */
  readonly open?: unknown
  readonly inTransaction?: boolean
}

/** Which copy of SQLite a handle belongs to. */
export type SqliteLibrary = 'node:sqlite' | 'better-sqlite3'

export type SqlValue = string | number | bigint | null | Uint8Array
export type SqlValues = Readonly<Record<string, SqlValue>>

interface Statement {
  all(values?: SqlValues): unknown[]
  run(values?: SqlValues): {
    readonly changes: number | bigint
    readonly lastInsertRowid: number | bigint
  }
  // node:sqlite
  setReadBigInts?(enabled: boolean): unknown
  setReturnArrays?(enabled: boolean): unknown
  setAllowBareNamedParameters?(enabled: boolean): unknown
  // better-sqlite3
  safeIntegers?(enabled: boolean): unknown
  raw?(enabled: boolean): unknown
  readonly reader?: boolean
}

export function isSqliteDatabase(value: unknown): value is SqliteDatabase {
  if (typeof value !== 'object' || value === null) return false
  const given = value as Partial<SqliteDatabase>
  if (
    typeof given.exec !== 'function' ||
    typeof given.prepare !== 'function' ||
    typeof given.close !== 'function'
  )
    return false
  return 'isTransaction' in given || 'inTransaction' in given
}

/** Whatever the defaults of the handle are, rows come as objects with plain numbers. */
function settle(statement: Statement): Statement {
  statement.setReadBigInts?.(false)
  statement.setReturnArrays?.(false)
  statement.setAllowBareNamedParameters?.(true)
  if (statement.reader === true) {
    statement.safeIntegers?.(false)
    statement.raw?.(false)
  }
  return statement
}

/**
 * One face for both libraries. Statements are prepared once per handle. Everything is synchronous.
 */
export class Handle {
  readonly native: SqliteDatabase
  readonly library: SqliteLibrary
  /**
   * The error because of which SQLite itself has rolled the present transaction back, such as a
   * full disk.
   */
  rolledBackBy: unknown
  /** SQLite's own waiting is certainly off. */
  neverWaits = false
  readonly #statements = new Map<string, Statement>()
  #place: string | undefined

  constructor(native: SqliteDatabase) {
    this.native = native
    this.library = 'isTransaction' in native ? 'node:sqlite' : 'better-sqlite3'
  }

  get isOpen(): boolean {
    return (this.native.isOpen ?? this.native.open) === true
  }

  get inTransaction(): boolean {
    if (!this.isOpen) return false
    return (this.native.isTransaction ?? this.native.inTransaction) === true
  }

  /** Path of the file as SQLite sees it, empty for a database in memory. */
  get place(): string {
    this.#place ??=
      this.all<{ name: string; file: string | null }>('PRAGMA database_list').find(
        (row) => row.name === 'main',
      )?.file ?? ''
    return this.#place
  }

  exec(sql: string): void {
    this.#run(() => this.native.exec(sql))
  }

  all<Row>(sql: string, values?: SqlValues): Row[] {
    const statement = this.#statement(sql)
    return this.#run(() =>
      values === undefined ? statement.all() : statement.all(values),
    ) as Row[]
  }

  /** The first row, if any. */
  // oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- rows have no type of their own, as in `all`
  get<Row>(sql: string, values?: SqlValues): Row | undefined {
    return this.all<Row>(sql, values)[0]
  }

  /** Returns how many rows the statement changed, and the last position that was given out. */
  run(sql: string, values?: SqlValues): { readonly changes: number; readonly position: bigint } {
    const statement = this.#statement(sql)
    const result = this.#run(() => (values === undefined ? statement.run() : statement.run(values)))
    return { changes: Number(result.changes), position: BigInt(result.lastInsertRowid) }
  }

  #run<Result>(statement: () => Result): Result {
    const open = this.inTransaction
    try {
      return statement()
    } catch (error) {
      if (open && !this.inTransaction) this.rolledBackBy ??= error
      throw error
    }
  }

  #statement(sql: string): Statement {
    let statement = this.#statements.get(sql)
    if (statement === undefined) {
      statement = settle(this.native.prepare(sql) as Statement)
      this.#statements.set(sql, statement)
    }
    return statement
  }
}

const handles = new WeakMap<object, Handle>()

/** The work of a unit has `lent` in its hands, which stands for this handle. */
export function lendAs(lent: object, handle: Handle): void {
  handles.set(lent, handle)
}

/** The face of this handle; the same one every time. */
export function handleOf(native: SqliteDatabase): Handle {
  let handle = handles.get(native)
  if (handle === undefined) {
    handle = new Handle(native)
    handles.set(native, handle)
  }
  return handle
}
