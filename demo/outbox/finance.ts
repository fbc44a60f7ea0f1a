/**
 * Completes the financial registration. The inbox row is in the same transaction, so it happens
 * once.
 */
import { Mersal } from '../../src/index.ts'
import { endWithParent, live, plan, stopHere } from '../child.ts'
import { onDatabase } from '../child-database.ts'
import { StudentRegistered } from '../messages.ts'
import { parts } from './open.ts'

endWithParent()
await onDatabase('finance', async (database) => {
  const app = new Mersal(parts('finance', database))

  app.handle(StudentRegistered, async ({ studentId, line, name }, { tx, attempt }) => {
    await database.insert(tx, 'financial_registrations', { student_id: studentId, line, name })
    stopHere('C4')
    if (line === plan.failsTwice && attempt <= 2) throw new Error('the bank does not answer')
    if (line === plan.failsAlways) throw new Error('this student cannot be billed')
  })

  await live(app)
})
