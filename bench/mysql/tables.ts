import { createPool, type Pool, type RowDataPacket } from 'mysql2/promise'
import { Mersal } from '../../src/index.ts'
import { memoryTransport } from '../../src/memory.ts'
import { mysql } from '../../src/mysql.ts'
import { Happened } from '../backlog.ts'
import { bodyOf, jsonOf } from '../messages.ts'

const DATABASE = 'bench'

/** The address of the database of the benchmark on this server. */
export const inBench = (url: string): string => `${url}/${DATABASE}`

export function openPool(url: string, connections: number): Pool {
  return createPool({ uri: inBench(url), connectionLimit: connections, maxIdle: connections })
}

/** Makes the tables of Mersal and the hand-written ones anew. */
export async function makeTables(url: string): Promise<void> {
  const server = createPool({ uri: url, connectionLimit: 1, multipleStatements: true })
  await server.query(`drop database if exists ${DATABASE};
    create database ${DATABASE} character set utf8mb4; use ${DATABASE};
    create table business (id bigint auto_increment primary key, number bigint not null, text varchar(100) not null);
    create table plain (id bigint auto_increment primary key, partition_key varchar(255), body longblob not null);
    create table received (id bigint auto_increment primary key, number bigint not null);
    create table plain_inbox (consumer varchar(100) not null, message_id varchar(100) not null,
      handled_at datetime(6) not null default utc_timestamp(6), primary key (consumer, message_id))`)
  await server.end()
  const pool = openPool(url, 2)
  const store = mysql({ pool })
  await store.open()
  await store[Symbol.asyncDispose]()
  await pool.end()
}

/** The body of message `n`: the digits lie at the same place in each. */
const bodySql = (() => {
  const [before, behind] = bodyOf(0).toString().split('00000000') as [string, string]
  return `concat('${before}', lpad(n.seq, 8, '0'), '${behind}')`
})()

/** Fills the table of the hand-written relays. */
export async function fillPlain(pool: Pool, count: number): Promise<void> {
  await pool.query('truncate plain')
  await pool.query(
    `insert into plain (body) select ${bodySql} from seq_1_to_${count} n order by n.seq`,
  )
}

/**
 * Fills the outbox with copies of a message that Mersal has written, so with its headers. `queue`:
 * where they go. `keys`: 0 for none.
 */
export async function fillOutbox(
  pool: Pool,
  count: number,
  { queue, keys }: { readonly queue: string; readonly keys: number },
): Promise<void> {
  await pool.query('truncate mersal_outbox')
  await writeOne(pool, queue, keys > 0)
  const key = keys === 0 ? 'null' : `concat('key ', n.seq mod ${keys})`
  await pool.query(`
    insert into mersal_outbox (id, partition_key, visible_at, added_at, type, transport, kind, name, headers, body)
    select uuid(), ${key}, utc_timestamp(6), utc_timestamp(6), o.type, o.transport, o.kind, o.name,
      replace(o.headers, '"the key"', concat('"', coalesce(${key}, ''), '"')), ${bodySql}
    from seq_1_to_${count} n cross join mersal_outbox o order by n.seq`)
  await pool.query('delete from mersal_outbox order by position limit 1')
}

async function writeOne(pool: Pool, queue: string, keyed: boolean): Promise<void> {
  await using app = new Mersal({
    name: 'bench',
    sendOnly: true,
    store: mysql({ pool, migrate: 'off' }),
    transport: memoryTransport(),
    routes: { [Happened.name]: queue },
  })
  await app.transaction(async (_, { send }) =>
    send(Happened, jsonOf(0), keyed ? { partitionKey: 'the key' } : {}),
  )
}

/** What is wrong with the numbers that a table has: each of 1 to `last` is wanted once. */
export async function wrongNumbers(
  pool: Pool,
  { numbers, last }: { readonly numbers: string; readonly last: number },
): Promise<string[]> {
  const [[row]] = await pool.query<RowDataPacket[]>(
    `select count(*) as every, count(distinct n) as different, coalesce(min(n), 1) as least, coalesce(max(n), 0) as most
     from (${numbers}) t`,
  )
  const { every, different, least, most } = row as {
    every: number
    different: number
    least: number
    most: number
  }
  return [
    ...(different < last ? [`${last - different} of ${last} lost`] : []),
    ...(every > different ? [`${every - different} doubled`] : []),
    ...(least < 1 || most > last ? ['numbers that nobody committed'] : []),
  ]
}

/** The number in a body, in SQL. */
export const numberSql = 'cast(substr(body, 7, 8) as unsigned)'
