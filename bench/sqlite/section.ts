import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { Mersal, event } from '../../src/index.ts'
import { sqlite as sqliteStore, sqliteQueue } from '../../src/sqlite.ts'
import { createCheck, upTo } from '../check.ts'
import { amount, type Effort } from '../effort.ts'
import { type Candidate, interleave, type Sample } from '../measure.ts'
import { type Body, jsonOf, thousandKeys } from '../messages.ts'
import { type Table, tableOf } from '../report.ts'
import { handWritten } from './hand-written.ts'
import { ownCpu, temporaryFolder } from './folder.ts'
import type { Transfer } from './transfer.ts'

/**
 * From a transaction of one app over its outbox and a queue file to the handler of another app, all
 * in this process. Nothing is answered before it is on the disk.
 */
export async function sqlite(effort: Effort): Promise<Table[]> {
  const tables: Table[] = []
  for (const perTransaction of effort.size === 'tiny' ? [10] : [1, 10]) {
    const count = amount(effort, 10_000, 2000)
    const candidate = (name: string, transfer: Transfer): Candidate => ({
      name,
      run: () => run(transfer, count, perTransaction),
    })
    const candidates = [
      candidate('hand-written', handWritten),
      candidate('Mersal, 1,000 keys', mersal('before-answer')),
      candidate("Mersal, 1,000 keys, flush: 'before-visible'", mersal('before-visible')),
    ]
    const results = await interleave(candidates, effort.runs, {
      warmUp: effort.size !== 'tiny',
      only: effort.only,
    })
    const title = `Sent, relayed, handled on SQLite ${process.versions['sqlite']}, ${perTransaction} per transaction`
    tables.push(tableOf({ id: `sqlite ${perTransaction}`, title, unit: 'messages/s' }, results))
  }
  return tables
}

async function run(transfer: Transfer, count: number, perTransaction: number): Promise<Sample> {
  using folder = temporaryFolder()
  const own = ownCpu()
  const started = performance.now()
  await transfer(folder.path, count, perTransaction)
  const seconds = (performance.now() - started) / 1000
  const cpu = { node: (own() * 100_000) / count }
  const check = createCheck(thousandKeys)
  const database = new DatabaseSync(join(folder.path, 'finance.db'))
  for (const { number } of database.prepare('select number from work order by rowid').iterate())
    check.saw(Number(number))
  database.close()
  return { rate: count / seconds, cpu, faults: check.faults(upTo(count)) }
}

const Registered = event<Body>('students.registered')

type Flush = 'before-answer' | 'before-visible'

const mersal =
  (flush: Flush): Transfer =>
  async (folder, count, perTransaction) => {
    await using finance = await open(folder, 'finance', flush)
    await using registrar = await open(folder, 'registrar', flush)
    const all = Promise.withResolvers<void>()
    let handled = 0
    finance.handle(Registered, ({ n }, { tx }) => {
      tx.prepare('insert into work (number) values (?)').run(Number(n))
      if (++handled === count) all.resolve()
    })
    await finance.start()
    await registrar.start()
    for (let first = 1; first <= count; first += perTransaction) {
      await registrar.transaction(async (tx, { publish }) => {
        for (let number = first; number < first + perTransaction && number <= count; number++) {
          tx.prepare('insert into work (number) values (?)').run(number)
          await publish(Registered, jsonOf(number), {
            partitionKey: thousandKeys.of(number) as string,
          })
        }
      })
    }
    await all.promise
  }

async function open(folder: string, name: string, flush: Flush): Promise<Mersal<DatabaseSync>> {
  const store = sqliteStore({ path: join(folder, `${name}.db`), flush })
  const app = new Mersal({
    name,
    store,
    transport: sqliteQueue({ path: join(folder, 'broker.db'), flush }),
  })
  await app.transaction(async (tx) => tx.exec('create table work (number integer not null)'))
  return app
}
