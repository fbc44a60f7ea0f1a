/** Stores the student and publishes the event, in one transaction. */
import { randomUUID } from 'node:crypto'
import { Mersal } from '../../src/index.ts'
import { endWithParent, live, stopHere } from '../child.ts'
import { onDatabase } from '../child-database.ts'
import { RegisterStudent, StudentRegistered } from '../messages.ts'
import { parts } from './open.ts'

endWithParent()
await onDatabase('registrar', async (database) => {
  const app = new Mersal(parts('registrar', database))

  app.handle(RegisterStudent, async ({ line, name, programme }, { tx, publish }) => {
    const studentId = randomUUID()
    await database.insert(tx, 'students', { id: studentId, line, name, programme })
    stopHere('C4')
    await publish(StudentRegistered, { studentId, line, name }, { partitionKey: studentId })
  })

  await live(app)
})
