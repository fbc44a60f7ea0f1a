import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { CLERK } from '../features/plan.ts'
import { featureTables, featureTruth } from '../features/tables.ts'
import { CONSUMER, headers, type SqliteAddress, TAP, topics } from '../plan.ts'
import { digestOf } from '../producer.ts'
import { type Disk, openDisk } from './disk.ts'
import { bodyDigest, discardAll, type Letter } from './letters.ts'
import {
  type Arrival,
  type Committed,
  type Effect,
  type Place,
  type Truth,
  upgrade,
  wrongGauges,
} from './place.ts'

export interface SqlitePlace extends Place {
  /** Takes the lock of writers for so long. */
  holdLock(ms: number): Promise<void>
  /** Where both files are; undefined unless asked for. */
  readonly disk: Disk | undefined
  /**
   * Writes business rows and outbox rows in one transaction, as a program in another language does.
   */
  write(rows: readonly ForeignRow[], headersOfRow: string): Promise<void>
}

/** A message that no program of ours has written. */
export interface ForeignRow {
  readonly id: string
  readonly key: string | undefined
  readonly text: string
  /** Blanks after the body. */
  readonly padding?: number
  readonly delayMs?: number
  /** Its headers cannot be read, so that it has to become a dead letter. */
  readonly damaged?: boolean
}

export const bodyOf = ({ text, padding = 0 }: Pick<ForeignRow, 'text' | 'padding'>): Buffer =>
  Buffer.concat([Buffer.from(JSON.stringify({ text })), Buffer.alloc(padding, ' ')])

const tables = `
CREATE TABLE business (place INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, topic TEXT NOT NULL, key TEXT, digest TEXT NOT NULL);
CREATE TABLE effects (place INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, digest TEXT NOT NULL);
CREATE TABLE audit (id TEXT NOT NULL);
CREATE TRIGGER audit AFTER INSERT ON mersal_outbox WHEN new.type NOT LIKE 'feature.%' BEGIN INSERT INTO audit (id) VALUES (new.id); END;
`

const DISK_MIB = 2048

/** Timeouts of sagas that stay open. */
const notInAnHour = `NOT (type LIKE 'feature.%' AND visible_at > (unixepoch() + 3600) * 1000)`

function featuresIn(
  address: SqliteAddress,
  read: <Row>(file: string, sql: string) => Row[],
): NonNullable<Place['features']> {
  return {
    async prepare({ sqlite }) {
      await using store = sqlite.sqlite({ path: address.store })
      await store.open()
      await store.sagas?.open()
      await store.once?.open()
      await using queue = sqlite.sqliteQueue({ path: address.broker })
      await queue.subscribe(CLERK, [])
      using database = new DatabaseSync(address.store, { timeout: 10_000 })
      for (const sql of featureTables('sqlite', '')) database.exec(sql)
    },
    truth: () =>
      featureTruth({
        dialect: 'sqlite',
        prefix: '',
        rows: (sql) => Promise.resolve(read(address.store, sql)),
      }),
  }
}

/** `ownDisks`: its disk can be full. */
export async function openSqlitePlace({
  ownDisks,
}: {
  readonly ownDisks: boolean
}): Promise<SqlitePlace> {
  const disk = ownDisks ? await openDisk('sqlite', DISK_MIB) : undefined
  const folder = disk?.folder ?? mkdtempSync(join(tmpdir(), 'mersal-chaos-sqlite-'))
  const address = {
    kind: 'sqlite',
    store: join(folder, 'store.db'),
    broker: join(folder, 'broker.db'),
  } as const
  function read<Row>(file: string, sql: string, ...values: string[]): Row[] {
    const database = new DatabaseSync(file, { timeout: 10_000 })
    try {
      return database.prepare(sql).all(...values) as Row[]
    } finally {
      database.close()
    }
  }
  return {
    address,
    secrets: [],
    disk,
    async prepare({ sqlite }) {
      await using store = sqlite.sqlite({ path: address.store })
      await store.open()
      await using queue = sqlite.sqliteQueue({ path: address.broker })
      await queue.subscribe(CONSUMER, [topics.booked])
      await queue.subscribe(TAP, Object.values(topics))
      const database = new DatabaseSync(address.store, { timeout: 10_000 })
      database.exec(tables)
      database.close()
    },
    async migrate({ sqlite }) {
      await using store = sqlite.sqlite({ path: address.store, migrate: 'off' })
      return await upgrade(store.operations?.schema)
    },
    async waiting() {
      const [outbox] = read<{ n: number }>(
        address.store,
        `SELECT count(*) AS n FROM mersal_outbox WHERE ${notInAnHour}`,
      )
      const [left] = read<{ n: number }>(
        address.store,
        `SELECT count(*) AS n FROM business WHERE topic = '${topics.booked}' AND id NOT IN (SELECT id FROM effects)`,
      )
      const rows = read(
        address.store,
        'SELECT position, partition_key, visible_at, token, attempts FROM mersal_outbox LIMIT 5',
      )
      return { outbox: outbox?.n ?? 0, effects: left?.n ?? 0, detail: JSON.stringify(rows) }
    },
    async heldBy(tokens) {
      const sql =
        'SELECT count(*) AS n FROM mersal_outbox WHERE token IN (SELECT value FROM json_each(?)) AND visible_at > ?'
      return (
        read<{ n: number }>(address.store, sql, JSON.stringify(tokens), String(Date.now()))[0]?.n ??
        0
      )
    },
    async letters(ids) {
      const sql =
        'SELECT id, reason, body FROM mersal_dead_letters WHERE id IN (SELECT value FROM json_each(?))'
      return read<{ id: string; reason: string; body: Uint8Array }>(
        address.store,
        sql,
        JSON.stringify(ids),
      ).map(
        ({ id, reason, body }): Letter => ({
          id,
          reason,
          bytes: body.byteLength,
          digest: bodyDigest(body),
        }),
      )
    },
    async discard({ sqlite }, ids) {
      await using store = sqlite.sqlite({ path: address.store, migrate: 'off' })
      return await discardAll(store.admin.deadLetters, new Set(ids))
    },
    async truth(source) {
      const found = truth((file, sql, ...values) => read(address[file], sql, ...values))
      const count = (table: string): number =>
        read<{ n: number }>(address.store, `SELECT count(*) AS n FROM ${table}`)[0]?.n ?? 0
      await using store = source.sqlite.sqlite({ path: address.store, migrate: 'off' })
      const expected = { pending: count('mersal_outbox'), dead: count('mersal_dead_letters') }
      return { ...found, gauges: await wrongGauges(store, source, expected) }
    },
    async holdLock(ms) {
      const database = new DatabaseSync(address.store, { timeout: 10_000 })
      database.exec('BEGIN IMMEDIATE')
      await new Promise((resolve) => setTimeout(resolve, ms))
      database.exec('COMMIT')
      database.close()
    },
    ...burials(address.store, read),
    features: featuresIn(address, read),
    async [Symbol.asyncDispose]() {
      if (disk === undefined) rmSync(folder, { recursive: true, force: true })
      await disk?.[Symbol.asyncDispose]()
    },
  }
}

/** What makes and undoes trouble with dead letters, and rows of somebody else. */
function burials(
  file: string,
  read: <Row>(file: string, sql: string, ...values: string[]) => Row[],
) {
  /** SQLite lets those wait who ask while others write without a pause. */
  async function whole(work: (database: DatabaseSync) => void): Promise<void> {
    for (let tries = 0; ; tries += 1) {
      const database = new DatabaseSync(file, { timeout: 1000 })
      try {
        database.exec('BEGIN IMMEDIATE')
        work(database)
        database.exec('COMMIT')
        return
      } catch (error) {
        if (tries > 60 || !/locked/.test(String(error))) throw error
        await new Promise((resolve) => setTimeout(resolve, 50))
      } finally {
        database.close()
      }
    }
  }
  const change = (text: string): Promise<void> => whole((database) => database.exec(text))
  const listed = (ids: readonly string[]): string => ids.map((id) => `'${id}'`).join(', ')
  return {
    async deadOf(ids: readonly string[]) {
      return (
        read<{ n: number }>(
          file,
          `SELECT count(*) AS n FROM mersal_dead_letters WHERE id IN (${listed(ids)})`,
        )[0]?.n ?? 0
      )
    },
    makeDue: (ids: readonly string[]) =>
      change(`UPDATE mersal_outbox SET visible_at = ${Date.now()} WHERE id IN (${listed(ids)})`),
    refuseDead: (refuses: boolean) =>
      change(
        refuses
          ? `CREATE TRIGGER IF NOT EXISTS no_dead BEFORE INSERT ON mersal_dead_letters BEGIN SELECT raise(ABORT, 'no dead letters here'); END`
          : 'DROP TRIGGER IF EXISTS no_dead',
      ),
    write: (rows: readonly ForeignRow[], sent: string) =>
      whole((database) => {
        const business = database.prepare(
          'INSERT INTO business (id, topic, key, digest) VALUES (?, ?, ?, ?)',
        )
        const outbox = database.prepare(
          `INSERT INTO mersal_outbox (id, partition_key, type, transport, kind, name, headers, body, visible_at, created_at)
           VALUES (?, ?, ?, 'default', 'topic', ?, ?, ?, ?, ?)`,
        )
        for (const { id, key = null, text, padding = 0, delayMs = 0 } of rows) {
          business.run(id, topics.billed, key, digestOf(text))
          const body = bodyOf({ text, padding })
          outbox.run(
            id,
            key,
            topics.billed,
            topics.billed,
            sent,
            body,
            Date.now() + delayMs,
            Date.now(),
          )
        }
      }),
  }
}

type Read = <Row>(file: 'store' | 'broker', sql: string, ...values: string[]) => Row[]

function truth(read: Read): Omit<Truth, 'gauges'> {
  const committed = read<Omit<Committed, 'at'> & { key: string | null }>(
    'store',
    'SELECT id, topic, key, digest FROM business ORDER BY place',
  )
  const torn = read<{ id: string }>(
    'store',
    `SELECT id FROM business WHERE id NOT IN (SELECT id FROM audit) UNION ALL SELECT id FROM audit WHERE id NOT IN (SELECT id FROM business)`,
  )
  const dead = [
    ...read<{ id: string }>('store', 'SELECT id FROM mersal_dead_letters'),
    ...read<{ id: string }>('broker', 'SELECT id FROM mersal_queue_dead_letters'),
  ]
  const [pages] = read<{ n: number }>('store', 'SELECT count(*) AS n FROM mersal_outbox')
  return {
    committed: committed.map((row) => ({ ...row, key: row.key ?? undefined, at: undefined })),
    torn: torn.map(({ id }) => id),
    arrivals: arrivals(read),
    effects: read<Effect>('store', 'SELECT id, digest FROM effects ORDER BY place'),
    dead: new Set(dead.map(({ id }) => id)),
    intrusions: [],
    sizes: { outbox: pages?.n ?? 0 },
    versions: { SQLite: read<{ v: string }>('store', 'SELECT sqlite_version() AS v')[0]?.v ?? '?' },
    texts: [],
  }
}

/** Plain SQL on the file of the queue: nobody consumes the tap. */
function arrivals(read: Read): Arrival[] {
  const sql =
    'SELECT id, type, headers, CAST(body AS TEXT) AS body FROM mersal_queue_messages WHERE queue = ? ORDER BY position'
  return read<{ id: string; type: string; headers: string; body: string }>('broker', sql, TAP).map(
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
