/**
 * What keeps the rows and messages of a careless program together, and how each is taken away: the
 * generator has to notice it on every one of these libraries.
 */
import type { Change } from '../chaos/planted.ts'

export interface Guard {
  readonly name: string
  readonly says: string
  readonly changes: readonly Change[]
  readonly places: readonly string[]
}

function guard(
  name: string,
  says: string,
  places: readonly string[],
  ...changes: readonly (readonly [file: string, from: string, to: string])[]
): Guard {
  return { name, says, places, changes: changes.map(([file, from, to]) => ({ file, from, to })) }
}

const unit = 'app/unit/unit.ts'
const lent = 'sql/sessions/lent/lent.ts'
const pgHandle = 'sql/postgres/unit/unit-handle.ts'
const sqliteHandle = 'sql/sqlite/unit/unit-handle.ts'
const mysqlHandle = 'stores/mysql/unit/unit-handle.ts'
const log = 'sql/units/savepoint-log.ts'

const refusalIs = "if (ending?.kind === 'ends')"
const never = "if (ending?.kind === 'ends' && ending.words === 'never')"

export const guards: readonly Guard[] = [
  guard(
    'G1',
    'statements that end the transaction are refused, by libraries',
    ['Knex', 'Kysely', 'Drizzle', 'Prisma', 'MikroORM', 'TypeORM', 'Sequelize', 'postgres.js'],
    [
      lent,
      'if (allowed === undefined && end !== undefined)',
      "if (allowed === undefined && end === 'never')",
    ],
  ),
  guard('G2', 'the same, by pg', ['pg', 'pg one by one'], [pgHandle, refusalIs, never]),
  guard(
    'G3',
    'the same, by SQLite',
    ['node:sqlite', 'better-sqlite3'],
    [sqliteHandle, refusalIs, never],
  ),
  guard('G4', 'the same, by mysql2', ['mysql2'], [mysqlHandle, refusalIs, never]),
  guard(
    'G5',
    'a transaction that has ended unseen is noticed, by pg',
    ['pg'],
    ['sql/postgres/unit/tags.ts', 'if (!this.#watching) return', "if (tag !== 'never') return"],
  ),
  guard(
    'G6',
    'the same, by SQLite: after an error that has undone everything nothing more is run',
    ['node:sqlite', 'better-sqlite3'],
    [
      sqliteHandle,
      'if (!this.#ended && this.#handle.inTransaction) return',
      'if (!this.#ended) return',
    ],
  ),
  guard(
    'G7',
    'the same, by mysql2',
    ['mysql2'],
    [mysqlHandle, 'if (saysOpen(answer) === false) this.#ended = true', ''],
    [mysqlHandle, 'if (before === now) return', 'if (before !== undefined) return'],
  ),
  guard(
    'G8',
    'a failed transaction is noticed before its COMMIT, by libraries',
    // Kysely 0.29 looks at the answer to COMMIT itself; 0.28 does not.
    ['Knex', 'Drizzle', 'Prisma'],
    ['sql/sessions/handles.ts', 'await unit.assertWhole()', ''],
  ),
  guard(
    'G9',
    'COMMIT answered with ROLLBACK is no commit',
    ['pg', 'pg one by one'],
    [
      'sql/postgres/unit/transaction.ts',
      "if (command === 'COMMIT') return",
      "if (command !== 'never') return",
    ],
  ),
  guard(
    'G10',
    'the handle of a unit that has ended does nothing, by libraries',
    ['Knex', 'Kysely', 'Prisma'],
    [
      lent,
      'if (allowed !== undefined && !passes(text, end)) throw handleRevoked(library)',
      'passes(text, end)',
    ],
  ),
  guard(
    'G35',
    'the same, where each call of the handle is asked for',
    ['Drizzle', 'postgres.js'],
    [lent, 'revoke: (passing) => void (allowed = passing),', 'revoke: () => {},'],
  ),
  guard(
    'G11',
    'the same, by pg',
    ['pg', 'pg one by one'],
    [pgHandle, 'this.#revoked = true', 'this.#revoked = false'],
  ),
  guard(
    'G12',
    'the same, by SQLite',
    ['node:sqlite', 'better-sqlite3'],
    [sqliteHandle, 'this.#revoked = true', 'this.#revoked = false'],
    [
      sqliteHandle,
      'if (!this.#ended && this.#handle.inTransaction) return',
      'if (!this.#ended) return',
    ],
  ),
  guard('G13', 'the same, by mysql2', ['mysql2'], [mysqlHandle, 'this.revoked = true', '']),
  guard(
    'G14',
    'the same, in memory',
    ['memory'],
    [
      'stores/memory/unit/transaction.ts',
      '  if (state.open) return\n',
      '  if (state.database) return\n',
    ],
  ),
  guard(
    'G15',
    'no statement of the work comes between its end and the COMMIT',
    ['Knex', 'Kysely', 'Drizzle', 'Prisma'],
    ['sql/sessions/handles.ts', 'revoke(unit.questions)', ''],
  ),
  guard(
    'G16',
    'the same, by pg',
    ['pg', 'pg one by one'],
    [
      'sql/postgres/unit/client-session.ts',
      '    handle.revoke()\n    if (handle.ended()) {',
      '    if (handle.ended()) {',
    ],
  ),
  guard(
    'G17',
    'a message of within() proves its transaction, in PostgreSQL',
    // Knex itself refuses whatever comes after the end of its transaction.
    ['pg', 'Kysely', 'Drizzle'],
    [
      'sql/postgres/unit/proof.ts',
      'when ${only}::boolean then false',
      'when ${only}::boolean then true',
    ],
  ),
  guard(
    'G18',
    'the same, in SQLite',
    ['node:sqlite', 'better-sqlite3'],
    ['stores/sqlite/save.ts', '          requireMark(handle, mark)\n', ''],
    ['stores/sqlite/save.ts', 'await openTransaction(connection, tx)\n', 'transactionAnyhow(tx)\n'],
    [
      'stores/sqlite/save.ts',
      'type Saving =',
      'const transactionAnyhow = (tx: SqliteDatabase) => handleOf(tx)\n\ntype Saving =',
    ],
    [
      'stores/sqlite/save.ts',
      "import type { Handle, SqliteDatabase } from '../../sql/sqlite/connection/database.ts'",
      "import { type Handle, handleOf, type SqliteDatabase } from '../../sql/sqlite/connection/database.ts'",
    ],
  ),
  guard(
    'G19',
    'the same, in MariaDB',
    ['mysql2', 'Kysely on MariaDB'],
    [
      'stores/mysql/statements/saving-statements.ts',
      'from dual where ${inTransaction} ${more}`',
      'from dual where true ${more === "" ? "" : "and ? is not null"}`',
    ],
    [
      'stores/mysql/statements/saving-statements.ts',
      'where k.slot = ? and ${inTransaction} ${more} for update`',
      'where k.slot = ? ${more === "" ? "" : "and ? is not null"} for update`',
    ],
  ),
  guard(
    'G20',
    'a call proves the transaction that it was made in, and not that of the calls before it',
    ['pg'],
    [
      'sql/lanes.ts',
      'const leaving = leave(newMark(), lane.mark)',
      'const leaving = Promise.resolve(lane.mark)',
    ],
  ),
  guard(
    'G21',
    'savepoints of the library take their messages along, by pg, SQLite and mysql2',
    ['pg', 'node:sqlite', 'mysql2'],
    [log, 'if (this.#entries === 0) return undefined', 'if (this.#entries >= 0) return undefined'],
  ),
  guard(
    'G22',
    'the same, by libraries on PostgreSQL',
    ['Knex', 'Drizzle', 'postgres.js'],
    [
      'sql/units/library-unit.ts',
      'if (runs.length === 1 && runs[0]?.last === this.#wanted) return undefined',
      'if (runs.length >= 0) return undefined',
    ],
  ),
  guard(
    'G23',
    'the same, by libraries on MariaDB',
    ['Knex on MariaDB', 'TypeORM on MariaDB'],
    [
      'stores/mysql/unit/library-units.ts',
      'if (this.#wanted === 0) return undefined',
      'if (this.#wanted >= 0) return undefined',
    ],
  ),
  guard(
    'G24',
    'savepoint() takes its messages along',
    ['memory'],
    [unit, 'slot.dropped = true', 'slot.dropped = false'],
  ),
  guard(
    'G25',
    'nothing is sent beside an open savepoint',
    ['memory', 'pg', 'Knex'],
    [
      unit,
      'return this.#levels.at(-1) === this.#facts.level?.()',
      'return this.#levels.length >= 0 || this.#facts.level === undefined',
    ],
  ),
  guard(
    'G26',
    'a failure beside a savepoint is not forgiven with it',
    ['memory', 'pg'],
    [unit, 'if (isInside(call.level, level)) delete', 'if (isInside(level, level)) delete'],
  ),
  guard(
    'G27',
    'what is sent after the end of the unit is refused',
    ['memory', 'pg'],
    [
      unit,
      'if (!this.open) return Promise.reject(unitEnded(what))\n    if (!this.#inPlace()) return this.#follow(what, () => Promise.reject(parallel(what)))\n    const number',
      'if (!this.#inPlace()) return this.#follow(what, () => Promise.reject(parallel(what)))\n    const number',
    ],
  ),
  guard(
    'G28',
    'work that joins after the end is refused',
    ['memory', 'pg'],
    [
      unit,
      "const what = 'a nested transaction()'\n    if (!this.open) return Promise.reject(unitEnded(what))",
      "const what = 'a nested transaction()'",
    ],
  ),
  guard(
    'G29',
    'afterCommit() after the end is refused',
    ['memory'],
    [
      unit,
      'checkAfterCommit(work)\n    if (!this.open) throw unitEnded(what)',
      'checkAfterCommit(work)',
    ],
  ),
  guard(
    'G30',
    'what was not awaited fails the unit',
    ['memory', 'pg', 'Kysely'],
    [
      unit,
      "if (loose !== undefined) throw notAwaited(loose.what, 'its unit')",
      "if (loose?.what === 'never') throw notAwaited(loose.what, 'its unit')",
    ],
  ),
  guard(
    'G31',
    'a send that has failed fails the unit, also when that was caught',
    ['memory', 'pg'],
    [
      unit,
      'if (failed?.failure !== undefined) {',
      "if (failed?.failure !== undefined && failed.what === 'never') {",
    ],
  ),
  guard(
    'G32',
    'a transaction joins by intent alone',
    ['memory', 'pg', 'Prisma'],
    [
      'app/unit/transactions.ts',
      'return this.#runNew(work, options)',
      'return ((unit) => unit === undefined ? this.#runNew(work, options) : this.#runJoined(unit, work, options.signal))(this.outer())',
    ],
  ),
  guard(
    'G33',
    'a unit that was given up is cut off at once',
    ['memory'],
    ['app/unit/run-unit.ts', '    link.throwIfAborted()\n    const captured', '    const captured'],
    [
      'app/unit/run-unit.ts',
      'await withTimeLimit(request.limit, run.link, work, onLate)',
      'await work().finally(() => onLate)',
    ],
    ['app/unit/flush.ts', '  link.throwIfAborted()\n  if (messages', '  if (messages'],
    ['app/unit/flush.ts', '    link.throwIfAborted()\n    return', '    return'],
    [
      'stores/memory.ts',
      '      result = await work(tx)\n      signal?.throwIfAborted()\n',
      '      result = await work(tx)\n',
    ],
  ),
  guard(
    'G34',
    'nothing is sent behind the end of the transaction, before its answer',
    ['TypeORM', 'MikroORM'],
    [lent, 'if (end === undefined && ending) return false', ''],
  ),
]
