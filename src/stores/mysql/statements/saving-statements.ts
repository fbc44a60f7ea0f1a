import type { Tables } from '../../../sql/mysql/names.ts'
import type { Server } from '../../../sql/mysql/server.ts'

/**
 * Adds messages to the outbox. Every insert proves that it runs in a transaction, in the very
 * statement: see ADR 0142 and the page on MySQL.
 */
export interface SavingStatements {
  /** One message: the eleven values of `StoredMessage`. Changes no row outside of a transaction. */
  readonly one: string
  /** The values and the slot of its key, which is locked before the position is drawn. */
  readonly oneKeyed: string
  /** As these, with a mark as the last value: nothing but the transaction that has it counts. */
  readonly markedOne: string
  readonly markedOneKeyed: string
  /** `count` messages of keys that are locked. Fails outside of a transaction: `isUnproven`. */
  readonly many: (count: number) => string
  /** Locks the slots, in their order. */
  readonly lock: (count: number) => string
  /** Which of these keys have open rows. */
  readonly open: (count: number) => string
  /** Leaves a mark in the transaction that is open. */
  readonly mark: string
}

const COLUMNS =
  'id, partition_key, visible_at, token, type, transport, kind, name, headers, body, added_at, due_at'

/** The kind comes first where it is to be checked by the proof. */
const values = (kind: string): string =>
  `?, ?, utc_timestamp(6) + interval ? microsecond, ?, ?, ?, ${kind}, ?, ?, ?, utc_timestamp(6), utc_timestamp(6) + interval ? microsecond`

/** Question marks, with commas between them. */
export const placeholders = (count: number): string => Array(count).fill('?').join(', ')

/**
 * A mark lies in a variable of the connection together with what the server has counted of its
 * transactions. So it is found again only in the transaction in which it was left, and not after
 * any rollback to a savepoint. Several marks: handles and programs may share a connection.
 */
const markOf = ({ sameTransaction }: Server): string => `concat(?, ${sameTransaction}, ';')`
const MARKS = `coalesce(@mersal_within, '')`
const MARKS_LENGTH = 2000

/** A condition: the transaction has this mark. */
export const hasMark = (server: Server): string =>
  `${server.inTransaction} and locate(${markOf(server)}, ${MARKS}) > 0`

export function savingStatements(T: Tables, server: Server): SavingStatements {
  const { inTransaction } = server
  const insert = `insert into ${T.outbox} (${COLUMNS})`
  const marked = `and locate(${markOf(server)}, ${MARKS}) > 0`
  const one = (more: string): string =>
    `${insert} select ${values('?')} from dual where ${inTransaction} ${more}`
  // The row of the slot is read and locked before the row that is inserted gets its position.
  const oneKeyed = (more: string): string =>
    `${insert} select ${values('?')} from ${T.keyLock} k force index (primary)
    where k.slot = ? and ${inTransaction} ${more} for update`
  const proven = `(${values(`if(${inTransaction}, ?, 'none')`)})`
  const plain = `(${values('?')})`
  return {
    one: one(''),
    oneKeyed: oneKeyed(''),
    markedOne: one(marked),
    markedOneKeyed: oneKeyed(marked),
    many: (count) =>
      `${insert} values ${[proven, ...Array<string>(count - 1).fill(plain)].join(', ')}`,
    // The outbox is named so that its table is held before a key is: a writer that has locked keys
    // never waits for somebody who wants the whole table. No row of it is read or locked.
    lock: (count) =>
      `select k.slot from ${T.keyLock} k force index (primary) left join ${T.outbox} o on o.position = null
      where k.slot in (${placeholders(count)}) order by k.slot for update`,
    open: (count) =>
      `select distinct o.partition_key from ${T.outbox} o where o.partition_key in (${placeholders(count)})`,
    mark: `set @mersal_within = left(concat(${markOf(server)}, ${MARKS}), ${MARKS_LENGTH})`,
  }
}
