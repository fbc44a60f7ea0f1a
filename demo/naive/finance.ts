/** How it is often written: do the work, then acknowledge; nobody remembers what has been done. */
import { Mersal } from '../../src/index.ts'
import { transportWithPoints } from '../../src/testing/crash-points.ts'
import { endWithParent, live, plan, stopHere } from '../child.ts'
import { appName, openTransport } from '../child-broker.ts'
import { onDatabase } from '../child-database.ts'
import { StudentRegistered } from '../messages.ts'

endWithParent()
await onDatabase('finance', async (database) => {
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
})
