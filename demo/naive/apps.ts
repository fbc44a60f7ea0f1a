/**
 * How it is often written: without an outbox. The registrar has two habits: the first half of the
 * input is written to the database and then published, the second half is published within the
 * transaction. Finance does its work, then acknowledges; nobody remembers what has been done.
 */
import { randomUUID } from 'node:crypto'
import { Mersal } from '../../src/index.ts'
import { transportWithPoints } from '../../src/testing/crash-points.ts'
import {
  appName,
  endWithParent,
  live,
  onDatabase,
  openTransport,
  plan,
  readCommands,
  stopHere,
} from '../child.ts'
import type { AppDatabase } from '../databases/database.ts'
import { type Registration, StudentRegistered } from '../plan.ts'

async function registrar<Tx>(database: AppDatabase<Tx>): Promise<void> {
  const connection = await database.connect()
  const bus = new Mersal({
    name: appName('registrar'),
    transport: transportWithPoints(openTransport(), stopHere),
    sendOnly: true,
  })
  await bus.start()

  async function writeThenPublish({ line, name, programme }: Registration): Promise<void> {
    const studentId = randomUUID()
    await database.insert(connection, 'students', { id: studentId, line, name, programme })
    await bus.publish(StudentRegistered, { studentId, line, name })
  }

  async function publishInTransaction({ line, name, programme }: Registration): Promise<void> {
    const studentId = randomUUID()
    await database.execute(connection, 'BEGIN')
    await database.insert(connection, 'students', { id: studentId, line, name, programme })
    await bus.publish(StudentRegistered, { studentId, line, name })
    await database.execute(connection, 'COMMIT')
  }

  const commands = readCommands()
  const middle = commands[Math.floor(commands.length / 2)]?.line ?? 0
  // After a crash, go on behind the last student that was stored.
  const last = Math.max(0, ...(await database.lines('students')))
  for (const command of commands.filter(({ line }) => line > last)) {
    await (command.line < middle ? writeThenPublish(command) : publishInTransaction(command))
  }
  await bus.stop()
  process.exit(0)
}

async function finance<Tx>(database: AppDatabase<Tx>): Promise<void> {
  const connection = await database.connect()
  const app = new Mersal({
    name: appName('finance'),
    transport: transportWithPoints(openTransport(), stopHere),
    logger: false,
  })

  app.handle(StudentRegistered, async ({ studentId, line, name }, { attempt }) => {
    await database.insert(connection, 'financial_registrations', {
      student_id: studentId,
      line,
      name,
    })
    if (line === plan.failsTwice && attempt <= 2) throw new Error('the bank does not answer')
  })

  await live(app)
}

endWithParent()
await onDatabase(plan.app === 'registrar' ? registrar : finance)
