/**
 * What every database and every broker of the demo has: a side for the programs, which use it
 * through Mersal, and a side for the parent, which reads it with nothing of the bus.
 */
import type { Store } from '../../src/index.ts'
import type { AppName, BrokerPlace, DatabasePlace } from '../plan.ts'

/** A server that the demo may start, kill and start again. */
export interface ServerKind {
  readonly name: 'PostgreSQL' | 'MariaDB' | 'RabbitMQ' | 'NATS'
  /** Why none can be started on this machine. Undefined if one can. */
  readonly problem: () => string | undefined
  /** Environment variable with the address of a server to use where none can be started. */
  readonly variable: string
  readonly option: string
  readonly open: () => Promise<PrivateServer>
  /** Connects to a given server and leaves it again; rejects if it cannot be used. */
  readonly greet: (url: string) => Promise<void>
}

export interface PrivateServer extends AsyncDisposable {
  readonly url: string
  /** SIGKILL, to all its processes. */
  kill(): Promise<void>
  start(): Promise<void>
}

/** How long the greeting of a given server may take. */
export const GREET_MS = 10_000

/** The database of an app. The handlers of the demo are the same on all. */
export interface AppDatabase<Tx> {
  openStore(): Store<Tx>
  /** A connection with nothing of Mersal. */
  connect(): Promise<Tx>
  execute(tx: Tx, sql: string): Promise<void>
  insert(tx: Tx, table: string, row: Row): Promise<void>
  /** The numbers of the lines that this table knows. */
  lines(table: string): Promise<number[]>
}

export type Row = Readonly<Record<string, string | number>>

/** Called with the reason when a connection that a program has to go on with is lost. */
export type Lost = (error: unknown) => void

export interface StudentRow {
  readonly id: string
  readonly line: number
  readonly name: string
}

export interface FinancialRow {
  readonly studentId: string
  readonly name: string
}

export interface DatabaseCounts {
  readonly students: number
  readonly financial: number
  /** Outgoing messages that still wait or were given up. */
  readonly waiting: number
}

/** The databases of one part of the demo, as the parent sees them: with plain SQL. */
export interface DemoDatabase extends AsyncDisposable {
  readonly place: DatabasePlace
  counts(): Promise<DatabaseCounts>
  students(): Promise<StudentRow[]>
  financial(): Promise<FinancialRow[]>
}

export const apps: readonly AppName[] = ['registrar', 'finance', 'desk']

interface Table {
  readonly name: string
  readonly columns: string
}

/**
 * The table of each app. There is no unique constraint on purpose: an effect that happens twice
 * must show. The input may have any character, and not every column of texts takes them all: so
 * names are stored as bytes.
 */
export const tableOf = (app: AppName, bytes: 'BLOB' | 'BYTEA' | 'LONGBLOB'): Table =>
  ({
    registrar: {
      name: 'students',
      columns: `id TEXT NOT NULL, line INTEGER NOT NULL, name ${bytes} NOT NULL, programme ${bytes} NOT NULL`,
    },
    finance: {
      name: 'financial_registrations',
      columns: `student_id TEXT NOT NULL, line INTEGER NOT NULL, name ${bytes} NOT NULL`,
    },
    desk: { name: 'handed_in', columns: 'line INTEGER PRIMARY KEY' },
  })[app]

/** An INSERT with its values; `mark` is the placeholder of the n-th, from 1. */
export function insertion(
  table: string,
  row: Row,
  mark: (n: number) => string = () => '?',
): { readonly sql: string; readonly values: (string | number | Buffer)[] } {
  const names = Object.keys(row)
  const marks = names.map((_, index) => mark(index + 1))
  return {
    sql: `INSERT INTO ${table} (${names.join()}) VALUES (${marks.join()})`,
    values: Object.entries(row).map(([name, value]) =>
      name === 'name' || name === 'programme' ? Buffer.from(String(value)) : value,
    ),
  }
}

export interface Reading {
  /** Runs a query in the database of this app. */
  readonly query: <Found>(app: AppName, sql: string) => Promise<Found[]>
  /** Name of a table of this app in a query. */
  readonly table: (app: AppName, name: string) => string
  /** The tables in which the outbox keeps its messages; none without an outbox. */
  readonly outbox: readonly string[]
}

/** Reads what the parent wants to know. Drivers give a count as a number, a bigint or a text. */
export function reader(reading: Reading): Pick<DemoDatabase, 'counts' | 'students' | 'financial'> {
  const { query, table, outbox } = reading
  const count = (app: AppName, name: string): string => `(SELECT count(*) FROM ${table(app, name)})`
  const rowsAndWaiting = async (app: AppName): Promise<[number, number]> => {
    const waiting = outbox.map((name) => count(app, name)).join(' + ') || '0'
    const sql = `SELECT ${count(app, tableOf(app, 'BLOB').name)} AS own, ${waiting} AS waiting`
    const [found] = await query<{ own: unknown; waiting: unknown }>(app, sql)
    return [Number(found?.own), Number(found?.waiting)]
  }
  return {
    counts: async () => {
      const counted = await Promise.all(apps.map(rowsAndWaiting))
      const [[students], [financial]] = counted as [[number, number], [number, number]]
      return { students, financial, waiting: counted.reduce((sum, [, each]) => sum + each, 0) }
    },
    students: async () => {
      const sql = `SELECT id, line, name FROM ${table('registrar', 'students')}`
      const rows = await query<{ id: string; line: number; name: Uint8Array }>('registrar', sql)
      return rows.map(({ name, ...row }) => ({ ...row, name: Buffer.from(name).toString() }))
    },
    financial: async () => {
      const sql = `SELECT student_id, name FROM ${table('finance', 'financial_registrations')}`
      const rows = await query<{ student_id: string; name: Uint8Array }>('finance', sql)
      return rows.map(({ student_id: studentId, name }) => ({
        studentId,
        name: Buffer.from(name).toString(),
      }))
    },
  }
}

export interface BrokerMessage {
  readonly id: string
  /** Undefined if the body is no JSON object that has one. */
  readonly studentId: string | undefined
}

export interface BrokerCounts {
  /** Events that were published, each id once if the broker can tell. */
  readonly events: number
  readonly deadLetters: number
  /** In the queues of the apps. A message that an app holds at this moment may be missing. */
  readonly waiting: number
}

/**
 * The broker of one part of the demo, as the parent sees it. The queue `audit` is subscribed to the
 * event and read by nobody, so it holds everything that was ever published.
 */
export interface DemoBroker extends AsyncDisposable {
  readonly place: BrokerPlace
  counts(): Promise<BrokerCounts>
  events(): Promise<BrokerMessage[]>
  deadLetters(): Promise<BrokerMessage[]>
  /**
   * Puts a message that is no JSON and copies of delivered messages into the queue of finance.
   * Returns how many copies.
   */
  disturb(copies: number): Promise<number>
}

export const poison = {
  id: 'poison',
  type: 'students.registered',
  body: Buffer.from([0xff, 0x7b, 0x00]),
} as const

export function messageOf(id: string, body: Uint8Array): BrokerMessage {
  let studentId: unknown
  try {
    studentId = (JSON.parse(Buffer.from(body).toString()) as { studentId?: unknown } | null)
      ?.studentId
  } catch {
    studentId = undefined // the poison message
  }
  return { id, studentId: typeof studentId === 'string' ? studentId : undefined }
}
