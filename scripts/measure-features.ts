import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { parseArgs } from 'node:util'
import { createPool } from 'mysql2/promise'
import { Pool } from 'pg'
import type { Store } from '../src/core/store.ts'
import { silentLogger } from '../src/core/telemetry.ts'
import { command, event, Mersal, saga } from '../src/index.ts'
import { memoryTransport } from '../src/memory.ts'
import { mysql, type MysqlConnection } from '../src/mysql.ts'
import { postgres, type PostgresClient } from '../src/postgres.ts'
import { sqlite } from '../src/sqlite.ts'

// What a saga costs against a plain handler, and app.once against a plain transaction.
// node scripts/measure-features.ts --stores sqlite,postgres,mysql --messages 2000 --rounds 3

const { values } = parseArgs({
  options: {
    stores: { type: 'string', default: 'sqlite,postgres,mysql' },
    messages: { type: 'string', default: '2000' },
    rounds: { type: 'string', default: '3' },
    concurrency: { type: 'string', default: '10' },
    postgres: { type: 'string', default: 'postgres://postgres@127.0.0.1:5432/test' },
    mysql: { type: 'string', default: 'mysql://root@127.0.0.1:3306' },
  },
})
const [count, rounds, concurrency] = [values.messages, values.rounds, values.concurrency].map(
  Number,
) as [number, number, number]
const name = `measure_${randomUUID().slice(0, 8)}`

interface Opened extends AsyncDisposable {
  readonly store: Store<unknown>
  /** The business: one row. */
  readonly add: (tx: unknown, number: number) => Promise<unknown>
}

const TABLE = 'rows_of_business'

async function onFile(): Promise<Opened> {
  const folder = await mkdtemp(join(tmpdir(), name))
  const path = join(folder, 'file')
  const setup = new DatabaseSync(path)
  setup.exec(`create table ${TABLE} (id integer primary key, number integer not null)`)
  setup.close()
  const sql = `insert into ${TABLE} (number) values (?)`
  return {
    store: sqlite({ path, logger: silentLogger }) as unknown as Store<unknown>,
    add: (tx, number) => Promise.resolve((tx as DatabaseSync).prepare(sql).run(number)),
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true }),
  }
}

async function onPostgres(): Promise<Opened> {
  const pool = new Pool({ connectionString: values.postgres, max: concurrency })
  await pool.query(`create schema ${name}`)
  const table = `${name}.${TABLE}`
  await pool.query(`create table ${table} (id serial primary key, number integer not null)`)
  const sql = `insert into ${table} (number) values ($1)`
  return {
    store: postgres({
      pool,
      schema: name,
      prepare: true,
      logger: silentLogger,
    }) as unknown as Store<unknown>,
    add: (tx, number) => (tx as PostgresClient).query(sql, [number]),
    async [Symbol.asyncDispose]() {
      await pool.query(`drop schema ${name} cascade`)
      await pool.end()
    },
  }
}

async function onMysql(): Promise<Opened> {
  const administrator = createPool({ uri: values.mysql, connectionLimit: 1 })
  await administrator.query(`create database ${name}`)
  const pool = createPool({ uri: `${values.mysql}/${name}`, connectionLimit: concurrency })
  await pool.query(
    `create table ${TABLE} (id integer auto_increment primary key, number integer not null)`,
  )
  const sql = `insert into ${TABLE} (number) values (?)`
  return {
    store: mysql({ pool, logger: silentLogger }) as unknown as Store<unknown>,
    add: (tx, number) => (tx as MysqlConnection).execute(sql, [number]),
    async [Symbol.asyncDispose]() {
      await pool.end()
      await administrator.query(`drop database ${name}`)
      await administrator.end()
    },
  }
}

const places: Readonly<Record<string, () => Promise<Opened>>> = {
  sqlite: onFile,
  postgres: onPostgres,
  mysql: onMysql,
}

interface OfNumber {
  readonly number: number
}
const Plain = command<OfNumber>('measure.plain')
const Begin = command<OfNumber>('measure.begin')
const Go = command<OfNumber>('measure.go')
const Wait = command<OfNumber>('measure.wait')
const Done = event<OfNumber>('measure.done')

class Bench implements AsyncDisposable {
  readonly app: Mersal<unknown>
  readonly #place: Opened
  #handled = 0
  #all = Promise.withResolvers<void>()
  #keys = 0

  constructor(place: Opened) {
    this.#place = place
    const { store } = place
    const routes = Object.fromEntries([Plain, Begin, Go, Wait].map((type) => [type.name, 'bench']))
    this.app = new Mersal<unknown>({
      name: 'bench',
      store,
      transport: memoryTransport({ eventsWithoutSubscribers: 'discard' }),
      routes,
      receive: { concurrency },
      logger: false,
    })
    this.#handle()
  }

  #handle(): void {
    const { app } = this
    const { add } = this.#place
    const done = (): void => {
      if (++this.#handled === count) this.#all.resolve()
    }
    app.handle(Plain, async ({ number }, { tx, afterCommit }) => {
      await add(tx, number)
      afterCommit(done)
    })
    const keyOf = ({ number }: OfNumber): string => `order ${number}`
    app.saga(saga<{ total: number }>('order'), (on) => {
      on.start(Begin, keyOf, async (_, { number }, { tx, afterCommit }) => {
        await add(tx, number)
        afterCommit(done)
        return { total: 1 }
      })
      on(Go, keyOf, async ({ total }, { number }, { tx, afterCommit }) => {
        await add(tx, number)
        afterCommit(done)
        return { total: total + 1 }
      })
      on(Wait, keyOf, async ({ total }, { number }, { tx, afterCommit, timeout }) => {
        await add(tx, number)
        timeout('late', { days: 1 })
        afterCommit(done)
        return { total: total + 1 }
      })
      on.timeout('late', () => undefined)
    })
  }

  /** Messages a second, from the first send to the last commit. */
  async messages(type: typeof Plain, first: number): Promise<number> {
    this.#handled = 0
    this.#all = Promise.withResolvers()
    const began = performance.now()
    await this.#lanes((index) => this.app.direct.send(type, { number: first + index }))
    await this.#all.promise
    return (count * 1000) / (performance.now() - began)
  }

  async transactions(once: boolean): Promise<number> {
    const { app } = this
    const { add } = this.#place
    const began = performance.now()
    await this.#lanes(async (number) => {
      if (!once)
        return await app.transaction(async (tx, { publish }) => {
          await add(tx, number)
          await publish(Done, { number })
        })
      return await app.once({ key: `${++this.#keys}`, fingerprint: 'x' }, async (tx, sender) => {
        await add(tx, number)
        await sender.publish(Done, { number })
        return { number }
      })
    })
    return (count * 1000) / (performance.now() - began)
  }

  async #lanes(call: (index: number) => Promise<unknown>): Promise<void> {
    let next = 0
    const lane = async (): Promise<void> => {
      while (next < count) await call(next++)
    }
    await Promise.all(Array.from({ length: concurrency }, lane))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.app.stop()
  }
}

const median = (list: readonly number[]): number =>
  list.toSorted((a, b) => a - b)[Math.floor(list.length / 2)] ?? Number.NaN

async function measure(place: string): Promise<void> {
  await using opened = await (places[place] as () => Promise<Opened>)()
  await using bench = new Bench(opened)
  await bench.app.start()
  const rates: Record<string, number[]> = {}
  const note = (what: string, rate: number): void => void (rates[what] ??= []).push(rate)
  await bench.transactions(false) // warm
  for (let round = 0; round < rounds; round += 1) {
    note('plain handler', await bench.messages(Plain, 0))
    note('saga, new instance', await bench.messages(Begin, round * count))
    note('saga, known instance', await bench.messages(Go, round * count))
    note('saga, with a timeout', await bench.messages(Wait, round * count))
    note('plain transaction', await bench.transactions(false))
    note('once', await bench.transactions(true))
  }
  const texts = Object.entries(rates).map(([what, list]) => `${what} ${Math.round(median(list))}/s`)
  process.stdout.write(`${place.padEnd(8)} ${texts.join(', ')}\n`)
}

for (const place of values.stores.split(',')) await measure(place)
