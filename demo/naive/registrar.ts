/**
 * How it is often written: without an outbox, in two habits. The first half of the input is written
 * to the database and then published; the second half is published within the transaction.
 */
import { randomUUID } from 'node:crypto'
import { Mersal } from '../../src/index.ts'
import { transportWithPoints } from '../../src/testing/crash-points.ts'
import { endWithParent, readCommands, stopHere } from '../child.ts'
import { appName, openTransport } from '../child-broker.ts'
import { onDatabase } from '../child-database.ts'
import { type Registration, StudentRegistered } from '../messages.ts'

endWithParent()
await onDatabase('registrar', async (database) => {
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
})
