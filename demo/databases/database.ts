import type { Store } from '../../src/index.ts'
import type { AppName, DatabasePlace } from '../plan.ts'

/** The database of a child, whichever it is: the handlers of the demo are the same on all. */
export interface AppDatabase<Tx> {
  openStore(): Store<Tx>
  /** A connection with nothing of Mersal. */
  connect(): Promise<Tx>
  execute(tx: Tx, sql: string): Promise<void>
  insert(tx: Tx, table: string, row: Readonly<Record<string, string | number>>): Promise<void>
  /** The numbers of the lines that this table knows. */
  lines(table: string): Promise<number[]>
}

/** Called with the reason when a connection that a child has to go on with is lost. */
export type Lost = (error: unknown) => void

/** A place of this kind. */
export type PlaceOf<Kind extends DatabasePlace['kind']> = DatabasePlace & { readonly kind: Kind }

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

/**
 * The databases of one part of the demo, as the parent sees them: with plain SQL, with nothing of
 * the bus.
 */
export interface DemoDatabase extends AsyncDisposable {
  readonly place: DatabasePlace
  counts(): Promise<DatabaseCounts>
  students(): Promise<StudentRow[]>
  financial(): Promise<FinancialRow[]>
}

/**
 * Of each app, its table. There is no unique constraint on purpose: an effect that happens twice
 * must show.
 */
export function tableOf(
  app: AppName,
  text: 'TEXT' | 'BYTEA' | 'LONGBLOB',
): { readonly name: string; readonly columns: string } {
  switch (app) {
    case 'registrar':
      return {
        name: 'students',
        columns: `id TEXT NOT NULL, line INTEGER NOT NULL, name ${text} NOT NULL, programme ${text} NOT NULL`,
      }
    case 'finance':
      return {
        name: 'financial_registrations',
        columns: `student_id TEXT NOT NULL, line INTEGER NOT NULL, name ${text} NOT NULL`,
      }
    case 'desk':
      return { name: 'handed_in', columns: 'line INTEGER PRIMARY KEY' }
    default:
      return app satisfies never
  }
}

export const apps: readonly AppName[] = ['registrar', 'finance', 'desk']

/** Names are read as bytes, so that no driver can change them on the way. */
export type Raw<Row extends { readonly name: string }> = Omit<Row, 'name'> & {
  readonly name: Uint8Array
}

export function withText<Row extends { readonly name: string }>({ name, ...row }: Raw<Row>): Row {
  return { ...row, name: Buffer.from(name).toString() } as unknown as Row
}

/**
 * The input may have any character, and not every column of texts takes them all: so names are
 * stored as bytes.
 */
export function stored([name, value]: [string, string | number]): string | number | Buffer {
  return name === 'name' || name === 'programme' ? Buffer.from(String(value)) : value
}
