/**
 * How it is often written: without an outbox, in two habits. The first half of the input is written
 * to the database and then published; the second half is published within the transaction.
 */
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { Mersal } from '../../src/index.ts'
import { sqliteQueue } from '../../src/sqlite.ts'
import { transportWithPoints } from '../../src/testing/crash-points.ts'
import { endWithParent, openDatabase, plan, readCommands, stopHere } from '../child.ts'
import { type Registration, StudentRegistered } from '../messages.ts'

endWithParent()
const database = openDatabase('registrar.db')
const transport = transportWithPoints(sqliteQueue({ path: join(plan.folder, 'broker.db') }), stopHere)
const bus = new Mersal({ name: 'registrar', transport, sendOnly: true })
await bus.start()

const insert = database.prepare('INSERT INTO students (id, line, name, programme) VALUES (?, ?, ?, ?)')

async function writeThenPublish({ line, name, programme }: Registration): Promise<void> {
  const studentId = randomUUID()
  insert.run(studentId, line, name, programme)
  await bus.publish(StudentRegistered, { studentId, line, name })
}

async function publishInTransaction({ line, name, programme }: Registration): Promise<void> {
  const studentId = randomUUID()
  database.exec('BEGIN')
  insert.run(studentId, line, name, programme)
  await bus.publish(StudentRegistered, { studentId, line, name })
  database.exec('COMMIT')
}

const commands = readCommands()
const middle = commands[Math.floor(commands.length / 2)]?.line ?? 0
// After a crash, go on behind the last student that was stored.
const { last } = database.prepare('SELECT coalesce(max(line), 0) AS last FROM students').get() as { last: number }
for (const command of commands.filter(({ line }) => line > last)) {
  await (command.line < middle ? writeThenPublish(command) : publishInTransaction(command))
}
await bus.stop()
process.exit(0)
