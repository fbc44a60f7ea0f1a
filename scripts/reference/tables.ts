import { DatabaseSync } from 'node:sqlite'
import type { MysqlTables } from '../../src/sql/mysql/migrate.ts'
import { migrationSql as mysqlSql } from '../../src/sql/mysql/migrate.ts'
import type { PostgresTables } from '../../src/sql/postgres/migrate.ts'
import { migrationSql as postgresSql } from '../../src/sql/postgres/migrate.ts'
import { onceTables as mysqlOnce } from '../../src/stores/mysql/once/once.ts'
import { sagaTables as mysqlSagas } from '../../src/stores/mysql/sagas.ts'
import { storeTables as mysqlStore } from '../../src/stores/mysql/schema.ts'
import { onceTables as postgresOnce } from '../../src/stores/postgres/once/once-tables.ts'
import { sagaTables as postgresSagas } from '../../src/stores/postgres/saga/saga-tables.ts'
import { storeTables as postgresStore } from '../../src/stores/postgres/schema.ts'
import { onceTables as sqliteOnce } from '../../src/stores/sqlite/once.ts'
import { sagaTables as sqliteSagas } from '../../src/stores/sqlite/sagas.ts'
import { storeTables as sqliteStore } from '../../src/stores/sqlite/schema.ts'
import { queueTables as mysqlQueue } from '../../src/transports/mysql/schema.ts'
import { queueTables as postgresQueue } from '../../src/transports/postgres/schema.ts'
import { queueTables as sqliteQueue } from '../../src/transports/sqlite/statements.ts'

export interface Column {
  readonly name: string
  readonly type: string
}

/** Columns by the name of the table, in the order in which the tables are made. */
export type TablesOf = ReadonlyMap<string, readonly Column[]>

/** The parts of a database that have tables of their own, in the order of the page. */
export interface DatabaseTables {
  readonly title: string
  readonly parts: ReadonlyMap<string, TablesOf>
}

/** What stands between the first bracket and the one that closes it. */
function inside(text: string, from: number): string {
  let depth = 0
  for (let at = from; at < text.length; at++) {
    if (text[at] === '(') depth++
    else if (text[at] === ')' && --depth === 0) return text.slice(from + 1, at)
  }
  throw new Error('a bracket is never closed')
}

/** The parts between commas that stand in no bracket. */
function parts(text: string): string[] {
  const found = ['']
  let depth = 0
  for (const letter of text) {
    if (letter === '(') depth++
    if (letter === ')') depth--
    if (letter === ',' && depth === 0) found.push('')
    else found[found.length - 1] += letter
  }
  return found.map((part) => part.replaceAll(/\s+/g, ' ').trim())
}

const notAColumn = /^(?:primary key|unique|(?:key|index) \w+ \(|constraint|check|foreign)/i

function columnOf(text: string): Column[] {
  const [, name, type] = /^["`]?(\w+)["`]? (.+)$/.exec(text) ?? []
  return name === undefined || type === undefined || notAColumn.test(text) ? [] : [{ name, type }]
}

const created = /^ *create table (?:if not exists )?["`]\w+["`]\.["`]?(\w+)["`]? ?(?=\()/gim
const added = /\balter table ["`]\w+["`]\.["`]?(\w+)["`]?((?:\s+add column [^;']+)+)/gi

/** Reads the statements of all steps: tables that are made, and columns that come later. */
function fromSql(sql: string): TablesOf {
  const text = sql.replaceAll(/^\s*--.*$/gm, '').replaceAll(/ --.*$/gm, '')
  const tables = new Map<string, Column[]>()
  for (const { 0: match, 1: name, index } of text.matchAll(created))
    tables.set(name!, parts(inside(text, index + match.length)).flatMap(columnOf))
  for (const [, name, columns] of text.matchAll(added)) {
    const table = tables.get(name!)
    for (const part of parts(columns!))
      table?.push(...columnOf(part.replace(/^add column (?:if not exists )?/i, '')))
  }
  return tables
}

/** Runs the steps, and asks SQLite what has come of them. */
function fromSqlite(steps: readonly { readonly sql: string }[]): TablesOf {
  using database = new DatabaseSync(':memory:')
  for (const { sql } of steps) database.exec(sql)
  const tables = database
    .prepare(
      "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY rowid",
    )
    .all()
  return new Map(
    tables.map(({ name }) => {
      const columns = database.prepare('SELECT * FROM pragma_table_info(?)').all(String(name))
      return [
        String(name),
        columns.map((column) => ({
          name: String(column['name']),
          type: `${String(column['type'])}${column['notnull'] === 1 ? ' NOT NULL' : ''}`,
        })),
      ]
    }),
  )
}

const names = ['Outbox, inbox, dead letters', 'Sagas', '`app.once`', 'Queue'] as const
const named = (all: readonly TablesOf[]): ReadonlyMap<string, TablesOf> =>
  new Map(all.map((tables, at) => [names[at]!, tables]))

const ofPostgres = (tables: PostgresTables): TablesOf => fromSql(postgresSql(tables, 0))
const ofMysql = (tables: MysqlTables): TablesOf => fromSql(mysqlSql(tables, 0))

/** The tables of each database after all steps. */
export const databaseTables = (): readonly DatabaseTables[] => [
  {
    title: 'PostgreSQL, in the schema `mersal` unless you choose another',
    parts: named(
      [postgresStore, postgresSagas, postgresOnce, postgresQueue].map((of) =>
        ofPostgres(of('mersal')),
      ),
    ),
  },
  {
    title: 'MySQL and MariaDB',
    parts: named([mysqlStore, mysqlSagas, mysqlOnce, mysqlQueue].map((of) => ofMysql(of('app')))),
  },
  {
    title: 'SQLite',
    parts: named(
      [sqliteStore, sqliteSagas, sqliteOnce, sqliteQueue].map(({ steps }) => fromSqlite(steps)),
    ),
  },
]
