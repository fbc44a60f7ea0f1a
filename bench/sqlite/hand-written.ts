import { join } from 'node:path'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { bodyOf, numberOf } from '../messages.ts'
import type { Transfer } from './transfer.ts'

const BATCH = 500

/**
 * The same hops with the least of statements, one after the other: business row and outbox row;
 * outbox to queue; inbox row and business row.
 */
export const handWritten: Transfer = async (folder, count, perTransaction) => {
  const [registrar, broker, finance] = ['registrar', 'broker', 'finance'].map((name) =>
    openFile(join(folder, `${name}.db`)),
  ) as [DatabaseSync, DatabaseSync, DatabaseSync]
  registrar.exec(
    'create table work (number integer not null); create table outbox (id integer primary key, body blob not null)',
  )
  broker.exec('create table queue (id integer primary key, body blob not null)')
  finance.exec(
    'create table work (number integer not null); create table inbox (id integer primary key)',
  )
  const handle = handler(broker, finance)
  const move = mover(registrar, broker)
  const work = registrar.prepare('insert into work (number) values (?)')
  const outbox = registrar.prepare('insert into outbox (body) values (?)')
  for (let first = 1; first <= count; first += perTransaction) {
    within(registrar, () => {
      for (let number = first; number < first + perTransaction && number <= count; number++) {
        work.run(number)
        outbox.run(bodyOf(number))
      }
    })
    if ((first - 1) % BATCH === 0) move()
  }
  while (move() > 0);
  while (handle());
  for (const database of [registrar, broker, finance]) database.close()
}

function openFile(path: string): DatabaseSync {
  const database = new DatabaseSync(path)
  database.exec('pragma journal_mode = wal; pragma synchronous = full')
  return database
}

function within<Result>(database: DatabaseSync, work: () => Result): Result {
  database.exec('begin immediate')
  const result = work()
  database.exec('commit')
  return result
}

/** Returns how many it has moved. */
function mover(registrar: DatabaseSync, broker: DatabaseSync): () => number {
  const read = registrar.prepare(`select id, body from outbox order by id limit ${BATCH}`)
  const retire = registrar.prepare('delete from outbox where id = ?')
  const add = broker.prepare('insert into queue (body) values (?)')
  const eachOf = (statement: StatementSync, values: readonly (number | Uint8Array)[]): void =>
    values.forEach((value) => statement.run(value))
  return () => {
    const rows = read.all() as { id: number; body: Uint8Array }[]
    const column = <Name extends 'id' | 'body'>(name: Name) => rows.map((row) => row[name])
    within(broker, () => eachOf(add, column('body')))
    within(registrar, () => eachOf(retire, column('id')))
    return rows.length
  }
}

/** Returns whether there was something. */
function handler(broker: DatabaseSync, finance: DatabaseSync): () => boolean {
  const look = broker.prepare('select id, body from queue order by id limit 1')
  const acknowledge = broker.prepare('delete from queue where id = ?')
  const track = finance.prepare('insert into inbox (id) values (?)')
  const work = finance.prepare('insert into work (number) values (?)')
  return () => {
    const row = look.get() as { id: number; body: Uint8Array } | undefined
    if (row === undefined) return false
    within(finance, () => {
      track.run(row.id)
      work.run(numberOf(row.body))
    })
    acknowledge.run(row.id)
    return true
  }
}
