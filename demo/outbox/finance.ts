/** Completes the financial registration. The inbox row is in the same transaction, so it happens once. */
import { Mersal, runUntilSignal } from '../../src/index.ts'
import { endWithParent, plan, stopHere } from '../child.ts'
import { StudentRegistered } from '../messages.ts'
import { parts } from './open.ts'

endWithParent()
const app = new Mersal({ name: 'finance', ...parts('finance.db') })

app.handle(StudentRegistered, async ({ studentId, line, name }, { tx, attempt }) => {
  tx.prepare('INSERT INTO financial_registrations (student_id, line, name) VALUES (?, ?, ?)').run(studentId, line, name)
  stopHere('C4')
  if (line === plan.failsTwice && attempt <= 2) throw new Error('the bank does not answer')
  if (line === plan.failsAlways) throw new Error('this student cannot be billed')
})

process.exit(await runUntilSignal(app))
