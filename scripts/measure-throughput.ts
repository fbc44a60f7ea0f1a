/**
 * Messages per second, end to end on SQLite in one process: send in a transaction, relay, queue,
 * handler with inbox and a business row. `node scripts/measure-throughput.ts [messages] [per transaction]`.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { DatabaseSync } from 'node:sqlite'
import { Mersal, event } from '../src/index.ts'
import { sqlite, sqliteQueue } from '../src/sqlite.ts'

const [messages = 5000, each = 1] = process.argv.slice(2).map(Number)
const Registered = event<{ number: number }>('students.registered')

async function open(folder: string, name: string, file: string): Promise<Mersal<DatabaseSync>> {
  const app = new Mersal({
    name,
    store: sqlite({ path: join(folder, file) }),
    transport: sqliteQueue({ path: join(folder, 'broker.db') }),
  })
  await app.transaction(async (tx) => tx.exec('CREATE TABLE work (number INTEGER NOT NULL)'))
  return app
}

const folder = mkdtempSync(join(tmpdir(), 'mersal-measure-'))
const finance = await open(folder, 'finance', 'finance.db')
const registrar = await open(folder, 'registrar', 'registrar.db')
const all = Promise.withResolvers<void>()
let handled = 0
finance.handle(Registered, ({ number }, { tx }) => {
  tx.prepare('INSERT INTO work (number) VALUES (?)').run(number)
  handled += 1
  if (handled === messages) all.resolve()
})
await finance.start()
await registrar.start()

const started = performance.now()
for (let number = 0; number < messages; number += each) {
  await registrar.transaction(async (tx, { publish }) => {
    for (let index = number; index < Math.min(number + each, messages); index += 1) {
      tx.prepare('INSERT INTO work (number) VALUES (?)').run(index)
      await publish(Registered, { number: index }, { partitionKey: String(index % 100) })
    }
  })
}
const sent = performance.now()
await all.promise
const done = performance.now()
await registrar.stop()
await finance.stop()
rmSync(folder, { recursive: true, force: true })

const rate = (from: number, to: number): number => Math.round((messages * 1000) / (to - from))
process.stdout.write(
  `node ${process.version}, SQLite ${process.versions['sqlite']}: ${messages} messages, ${each} per transaction, synchronous=FULL\n` +
    `sent ${rate(started, sent)}/s, handled end to end ${rate(started, done)}/s\n`,
)
