import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { Mersal } from '../../src/index.ts'
import { sqlite, sqliteQueue } from '../../src/sqlite.ts'
import { Happened } from '../backlog.ts'
import { amount, type Effort } from '../effort.ts'
import type { Candidate, Sample } from '../measure.ts'
import { bodyOf, jsonOf, numberOf, thousandKeys } from '../messages.ts'
import { ownCpu, temporaryFolder } from '../sqlite/folder.ts'
import { AHEAD, ALONE, type Amounts, countFaults, handleAll, TOGETHER } from './handled.ts'

/**
 * Makes everything ready in the folder, and returns what handles all messages. Business rows go to
 * `received` in `business.db`.
 */
type Prepare = (folder: string, count: number) => Promise<() => Promise<void>>

const CREATE = 'create table received (position integer primary key, number integer not null)'
const INSERT = 'insert into received (number) values (?)'

export function fromSqlite(effort: Effort, together: boolean): Candidate[] {
  const count = amount(effort, 20_000, 3000)
  const candidate = (name: string, prepare: Prepare): Candidate => ({
    name,
    run: () => run(count, prepare),
  })
  return [
    candidate('take, write, commit', bare),
    candidate('Mersal, 1,000 keys', mersal()),
    candidate('Mersal, 1,000 keys, twice as many fetched as handled', mersal(AHEAD)),
    ...(together
      ? [candidate('Mersal, 1,000 keys, up to 25 in each of 4 transactions', mersal(TOGETHER))]
      : []),
  ]
}

async function run(count: number, prepare: Prepare): Promise<Sample> {
  using folder = temporaryFolder()
  const work = await prepare(folder.path, count)
  const own = ownCpu()
  const started = performance.now()
  await work()
  const seconds = (performance.now() - started) / 1000
  const cpu = { node: (own() * 100_000) / count }
  const database = new DatabaseSync(join(folder.path, 'business.db'))
  const counted = database
    .prepare('select count(*) as rows, count(distinct number) as numbers from received')
    .get()
  database.close()
  return {
    rate: count / seconds,
    cpu,
    faults: countFaults(Number(counted?.['rows']), Number(counted?.['numbers']), count),
  }
}

/** Queue and business row in one file, so that one transaction is enough for both. */
const bare: Prepare = async (folder, count) => {
  const database = new DatabaseSync(join(folder, 'business.db'))
  database.exec(
    `pragma journal_mode = wal; pragma synchronous = full; ${CREATE}; create table queue (id integer primary key, body blob not null)`,
  )
  const add = database.prepare('insert into queue (body) values (?)')
  database.exec('begin')
  for (let number = 1; number <= count; number++) add.run(bodyOf(number))
  database.exec('commit')
  const take = database.prepare(
    'delete from queue where id = (select min(id) from queue) returning body',
  )
  const write = database.prepare(INSERT)
  return async () => {
    for (let handled = 0; handled < count; handled++) {
      database.exec('begin immediate')
      write.run(numberOf(take.get()?.['body'] as Uint8Array))
      database.exec('commit')
    }
    database.close()
  }
}

function mersal({ concurrency, batch, ...fetching }: Amounts = ALONE): Prepare {
  return async (folder, count) => {
    const open = (name: string): Mersal<DatabaseSync> =>
      new Mersal({
        name,
        store: sqlite({ path: join(folder, `${name}.db`) }),
        transport: sqliteQueue({ path: join(folder, 'queue.db'), ...fetching }),
        receive: { concurrency },
        routes: { [Happened.name]: 'business' },
      })
    await fill(open, count)
    const app = open('business')
    await app.transaction(async (tx) => tx.exec(CREATE))
    return handleAll(app, { count, batch }, (tx, n) => tx.prepare(INSERT).run(n))
  }
}

async function fill(open: (name: string) => Mersal<DatabaseSync>, count: number): Promise<void> {
  const declaring = open('business')
  await declaring.start()
  await declaring.stop()
  const sender = open('sender')
  await sender.start()
  for (let first = 1; first <= count; first += 500) {
    await sender.transaction(async (_, { send }) => {
      for (let number = first; number <= Math.min(count, first + 499); number++) {
        await send(Happened, jsonOf(number), { partitionKey: thousandKeys.of(number) as string })
      }
    })
  }
  await sender.drain()
  await sender.stop()
}
