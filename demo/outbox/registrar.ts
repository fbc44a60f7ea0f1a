/** Stores the student and publishes the event, in one transaction. */
import { randomUUID } from 'node:crypto'
import { Mersal, runUntilSignal } from '../../src/index.ts'
import { endWithParent, stopHere } from '../child.ts'
import { RegisterStudent, StudentRegistered } from '../messages.ts'
import { parts } from './open.ts'

endWithParent()
const app = new Mersal({ name: 'registrar', ...parts('registrar.db') })

app.handle(RegisterStudent, async ({ line, name, programme }, { tx, publish }) => {
  const studentId = randomUUID()
  tx.prepare('INSERT INTO students (id, line, name, programme) VALUES (?, ?, ?, ?)').run(studentId, line, name, programme)
  stopHere('C4')
  await publish(StudentRegistered, { studentId, line, name }, { partitionKey: studentId })
})

process.exit(await runUntilSignal(app))
