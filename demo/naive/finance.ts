/** How it is often written: do the work, then acknowledge; nobody remembers what has been done. */
import { join } from 'node:path'
import { Mersal, runUntilSignal } from '../../src/index.ts'
import { sqliteQueue } from '../../src/sqlite.ts'
import { transportWithPoints } from '../../src/testing/crash-points.ts'
import { endWithParent, openDatabase, plan, stopHere } from '../child.ts'
import { StudentRegistered } from '../messages.ts'
import { HOLD_MS } from '../plan.ts'

endWithParent()
const database = openDatabase('finance.db')
const queue = sqliteQueue({ path: join(plan.folder, 'broker.db'), visibilityMs: HOLD_MS, pollIntervalMs: 50 })
const app = new Mersal({ name: 'finance', transport: transportWithPoints(queue, stopHere), logger: false })

app.handle(StudentRegistered, ({ studentId, line, name }, { attempt }) => {
  database.prepare('INSERT INTO financial_registrations (student_id, line, name) VALUES (?, ?, ?)').run(studentId, line, name)
  if (line === plan.failsTwice && attempt <= 2) throw new Error('the bank does not answer')
})

process.exit(await runUntilSignal(app))
