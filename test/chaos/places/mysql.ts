import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { createPool, type Pool, type RowDataPacket } from 'mysql2/promise'
import { privateMariadb, type PrivateMariadb } from '../../../scripts/servers/mariadb.ts'
import { binaryLogSettings, committedRows } from '../../mysql/binary-log.ts'
import { now } from '../history.ts'
import { CONSUMER, headers, TAP, topics } from '../plan.ts'
import { digestOf } from '../producer.ts'
import { openProxy, type Proxy } from '../proxy.ts'
import type { Adapters, Source } from '../source.ts'
import { discardAll, type Letter } from './letters.ts'
import { intrusions, witnessTables } from './mysql-witness.ts'
import {
  type Arrival,
  type Committed,
  type Effect,
  type Place,
  type Truth,
  upgrade,
  wrongGauges,
} from './place.ts'

const DATABASE = 'chaos'
const MOST_CONNECTIONS = 80

/** MariaDB, which may be killed, and a broker that is a file. */
export interface MysqlPlace extends Place {
  readonly server: PrivateMariadb
  readonly databaseProxy: Proxy
  /** Past the proxy; repeats what fails because the server is coming back. */
  readonly query: Query
}

const tables = [
  'create table business (place bigint auto_increment primary key, id char(36) not null, topic varchar(100) not null, partition_key varchar(100), digest varchar(100) not null)',
  'create table effects (place bigint auto_increment primary key, id char(36) not null, digest varchar(100) not null)',
]

/** The binary log is the oracle: it has the order of commits, and is read by another program. */
const settings = [
  ...binaryLogSettings,
  '--innodb-flush-log-at-trx-commit=1',
  '--innodb-buffer-pool-size=64M',
  `--max-connections=${MOST_CONNECTIONS}`,
]

export type Query = <Row extends object>(text: string, values?: unknown[]) => Promise<Row[]>

/** Repeats what fails because the server is coming back. */
function persistently(pool: Pool): Query {
  return async <Row extends object>(text: string, values: unknown[] = []): Promise<Row[]> => {
    for (let tries = 0; ; tries += 1) {
      try {
        return (await pool.query<RowDataPacket[]>(text, values))[0] as Row[]
      } catch (error) {
        const { errno = 0 } = error as { errno?: number }
        const gone = errno < 1000 || errno === 1053 || errno === 1927
        if (!gone || tries >= 40) throw error
        await new Promise((resolve) => setTimeout(resolve, 250))
      }
    }
  }
}

export async function openMysqlPlace(): Promise<MysqlPlace> {
  const stack = new AsyncDisposableStack()
  try {
    const server = stack.use(await privateMariadb(settings))
    const folder = mkdtempSync(join(tmpdir(), 'mersal-chaos-mysql-'))
    stack.defer(() => rmSync(folder, { recursive: true, force: true }))
    const first = createPool({ uri: server.url, connectionLimit: 1 })
    await first.query(`create database ${DATABASE} character set utf8mb4`)
    // Whoever logs in is let in by any name, and may do nothing but its work: so read_only counts.
    await first.query(`create user ''@'127.0.0.1'`)
    await first.query(`grant all on ${DATABASE}.* to ''@'127.0.0.1'`)
    await first.end()
    const databaseProxy = stack.use(await openProxy(server.port))
    const url = `${server.url}/${DATABASE}`
    const pool = createPool({ uri: url, connectionLimit: 2, connectTimeout: 5000 })
    stack.defer(() => pool.end())
    const query = persistently(pool)
    const address = {
      kind: 'mysql',
      database: `mysql://program@127.0.0.1:${databaseProxy.port}/${DATABASE}`,
      broker: join(folder, 'broker.db'),
      epoch: Date.now() - now(),
    } as const
    const count = async (text: string, values: unknown[] = []): Promise<number> =>
      (await query<{ n: number }>(text, values))[0]?.n ?? 0
    return {
      server,
      databaseProxy,
      query,
      address,
      secrets: [],
      async prepare(source) {
        await onStore(url, source, (store) => store.open())
        for (const text of [...tables, ...witnessTables]) await query(text)
        await using queue = source.sqlite.sqliteQueue({ path: address.broker })
        await queue.subscribe(CONSUMER, [topics.booked])
        await queue.subscribe(TAP, Object.values(topics))
      },
      migrate: (source) => onStore(url, source, (store) => upgrade(store.operations?.schema)),
      async waiting(wiped) {
        const missing = await query<{ id: string }>(
          `select b.id from business b where b.topic = ? and not exists (select 1 from effects e where e.id = b.id)`,
          [topics.booked],
        )
        const rows = await query(
          'select position, partition_key, visible_at, token, attempts from mersal_outbox order by position limit 5',
        )
        return {
          outbox: await count('select count(*) as n from mersal_outbox where died_at is null'),
          effects: missing.filter(({ id }) => !wiped.has(id)).length,
          detail: JSON.stringify(rows),
        }
      },
      heldBy: (tokens) =>
        tokens.length === 0
          ? Promise.resolve(0)
          : count(
              'select count(*) as n from mersal_outbox where token in (?) and visible_at > utc_timestamp(6)',
              [tokens],
            ),
      truth: (source) => truth(source, { query, count, server, url, broker: address.broker }),
      deadOf: (ids) => count('select count(*) as n from mersal_dead where id in (?)', [ids]),
      letters: (ids) =>
        query<Letter>(
          'select id, reason, octet_length(body) as bytes, sha2(body, 256) as digest from mersal_dead where id in (?)',
          [ids],
        ),
      discard: (source, ids) =>
        onStore(url, source, (store) => discardAll(store.admin.deadLetters, new Set(ids))),
      async makeDue(ids) {
        await query('update mersal_outbox set visible_at = utc_timestamp(6) where id in (?)', [ids])
      },
      async refuseDead(refuses) {
        await query('drop trigger if exists no_dead')
        if (refuses)
          await query(
            `create trigger no_dead before insert on mersal_dead for each row signal sqlstate '45000' set message_text = 'no dead letters here'`,
          )
      },
      [Symbol.asyncDispose]: () => stack.disposeAsync(),
    }
  } catch (error) {
    await stack.disposeAsync()
    throw error
  }
}

type Work<Result> = (store: ReturnType<Source['mysql']['mysql']>) => Promise<Result>

/** A store of this source. */
async function onStore<Result>(
  url: string,
  { mysql }: Adapters,
  work: Work<Result>,
): Promise<Result> {
  if (mysql === undefined) throw new Error('this build has no store for MySQL')
  const own = createPool({ uri: url, connectionLimit: 2 })
  try {
    await using store = mysql.mysql({ pool: own })
    return await work(store)
  } finally {
    await own.end()
  }
}

interface Servers {
  readonly query: Query
  readonly count: (text: string) => Promise<number>
  readonly server: PrivateMariadb
  readonly url: string
  readonly broker: string
}

async function truth(
  source: Source,
  { query, count, server, url, broker }: Servers,
): Promise<Truth> {
  const { committed, torn } = await commits(server.data)
  const dead = await query<{ id: string; error: Buffer }>('select id, error from mersal_dead')
  const pending = await count('select count(*) as n from mersal_outbox where died_at is null')
  const gauges = await onStore(url, source, (store) =>
    wrongGauges(store, source, { pending, dead: dead.length }),
  )
  const given = read<{ id: string }>(broker, 'SELECT id FROM mersal_queue_dead_letters')
  const [version] = await query<{ v: string }>('select version() as v')
  return {
    committed,
    torn,
    arrivals: arrivals(broker),
    effects: await query<Effect>('select id, digest from effects order by place'),
    dead: new Set([...dead, ...given].map(({ id }) => id)),
    intrusions: await intrusions(query),
    gauges,
    sizes: { outbox: await count('select count(*) as n from mersal_outbox') },
    versions: { MariaDB: version?.v ?? '?' },
    texts: dead.map(({ error }) => error.toString()),
  }
}

/**
 * Places of the columns in the binary log, by which `mariadb-binlog` names them: `business` is
 * (place, id, topic, partition_key, digest), the id of the outbox is its eighth column.
 */
const ID = { business: 2, mersal_outbox: 8 } as const

/** From the binary log, by a program that is not ours: what was committed, and in which order. */
async function commits(data: string): Promise<Pick<Truth, 'committed' | 'torn'>> {
  const committed: Committed[] = []
  const torn: string[] = []
  for (const transaction of await committedRows(data, DATABASE, Object.keys(ID))) {
    const ids = (table: keyof typeof ID): Set<string> =>
      new Set(
        transaction.flatMap((change) =>
          change.table === table ? (change.values.get(ID[table]) ?? '') : [],
        ),
      )
    const [business, outbox] = [ids('business'), ids('mersal_outbox')]
    torn.push(...[...business].filter((id) => !outbox.has(id)))
    torn.push(...[...outbox].filter((id) => !business.has(id)))
    for (const { table, values } of transaction) {
      if (table !== 'business') continue
      const key = values.get(4)
      committed.push({
        id: values.get(2) ?? '',
        topic: values.get(3) ?? '',
        key: key === '' ? undefined : key,
        digest: values.get(5) ?? '',
        at: undefined,
      })
    }
  }
  return { committed, torn }
}

function read<Row>(file: string, sql: string, ...values: string[]): Row[] {
  const database = new DatabaseSync(file, { timeout: 10_000 })
  try {
    return database.prepare(sql).all(...values) as Row[]
  } finally {
    database.close()
  }
}

/** Plain SQL on the file of the queue: nobody consumes the tap. */
function arrivals(broker: string): Arrival[] {
  const sql =
    'SELECT id, type, headers, CAST(body AS TEXT) AS body FROM mersal_queue_messages WHERE queue = ? ORDER BY position'
  return read<{ id: string; type: string; headers: string; body: string }>(broker, sql, TAP).map(
    (row) => {
      const table = JSON.parse(row.headers) as Record<string, string>
      const { text } = JSON.parse(row.body) as { text: string }
      return {
        id: row.id,
        topic: row.type,
        publish: table[headers.publish] ?? '',
        digest: digestOf(text),
        note: table[headers.note] ?? '',
      }
    },
  )
}
