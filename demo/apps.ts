/**
 * The programs of the demo, first the naive way, then with the outbox. The parent starts each as a
 * process of its own and kills it at planned places (`stopHere`, and the points of `crashPoints`).
 */
import { randomUUID } from 'node:crypto'
import { Mersal, type MersalOptions, type ReceiveOptions, stopOnSignals } from '../src/index.ts'
import { crashPoints, transportWithPoints } from '../src/testing/crash-points.ts'
import {
  appName,
  endBecause,
  endWithParent,
  live,
  onDatabase,
  openTransport,
  plan,
  readCommands,
  stopHere,
} from './child.ts'
import type { AppDatabase } from './places/place.ts'
import { HOLD_MS, RegisterStudent, type Registration, StudentRegistered } from './plan.ts'

/**
 * How it is often written: without an outbox. The registrar has two habits: the first half of the
 * input is written to the database and then published, the second half is published within the
 * transaction.
 */
async function naiveRegistrar<Tx>(database: AppDatabase<Tx>): Promise<void> {
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

/** Does its work, then acknowledges; nobody remembers what has been done. */
async function naiveFinance<Tx>(database: AppDatabase<Tx>): Promise<void> {
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

/**
 * On a server that is killed and started again, the deliveries have to last longer than it is away.
 */
const onServer: ReceiveOptions = { backoff: { firstMs: 200, longestMs: 1500 }, maxDeliveries: 9 }
const receive: Readonly<Record<typeof plan.database.kind, ReceiveOptions>> = {
  sqlite: { backoff: { firstMs: 100, longestMs: 400 } },
  postgres: onServer,
  mysql: onServer,
}

/** Store, broker and short times for one app of the demo. */
function parts<Tx>(
  database: AppDatabase<Tx>,
): Pick<MersalOptions<Tx>, 'name' | 'store' | 'transport' | 'outbox' | 'receive' | 'logger'> {
  return {
    name: appName(plan.app),
    ...crashPoints({ store: database.openStore(), transport: openTransport(), at: stopHere }),
    outbox: { relay: { claimMs: HOLD_MS, expressGraceMs: HOLD_MS, pollIntervalMs: 100 } },
    receive: receive[plan.database.kind],
    // Faults are the subject here: the view shows them.
    logger: false,
  }
}

/** How many commands may be handed in by now; the parent says it. */
const permission = { commands: 0, changed: Promise.withResolvers<void>() }

/** Hands in the commands: the line is ticked off and the command is sent in one transaction. */
async function desk<Tx>(database: AppDatabase<Tx>): Promise<void> {
  const app = new Mersal({
    ...parts(database),
    sendOnly: true,
    routes: { [RegisterStudent.name]: appName('registrar') },
  })
  try {
    const { stopped } = stopOnSignals(app)
    const ended = stopped.then((code) => process.exit(code)) // also while it waits for permission
    await app.start()
    const done = new Set(await database.lines('handed_in'))
    for (const [index, command] of readCommands().entries()) {
      while (index >= permission.commands) await permission.changed.promise
      if (done.has(command.line)) continue
      await app.transaction(async (tx, { send }) => {
        await database.insert(tx, 'handed_in', { line: command.line })
        await send(RegisterStudent, command)
      })
    }
    await ended
  } catch (error) {
    endBecause(error) // started again, it goes on where the table ends
  }
}

/** Stores the student and publishes the event, in one transaction. */
async function registrar<Tx>(database: AppDatabase<Tx>): Promise<void> {
  const app = new Mersal(parts(database))

  app.handle(RegisterStudent, async ({ line, name, programme }, { tx, publish }) => {
    const studentId = randomUUID()
    await database.insert(tx, 'students', { id: studentId, line, name, programme })
    stopHere('C4')
    await publish(StudentRegistered, { studentId, line, name }, { partitionKey: studentId })
  })

  await live(app)
}

/**
 * Completes the financial registration. The inbox row is in the same transaction, so it happens
 * once.
 */
async function finance<Tx>(database: AppDatabase<Tx>): Promise<void> {
  const app = new Mersal(parts(database))

  app.handle(StudentRegistered, async ({ studentId, line, name }, { tx, attempt }) => {
    await database.insert(tx, 'financial_registrations', { student_id: studentId, line, name })
    stopHere('C4')
    if (line === plan.failsTwice && attempt <= 2) throw new Error('the bank does not answer')
    if (line === plan.failsAlways) throw new Error('this student cannot be billed')
  })

  await live(app)
}

endWithParent((line) => {
  permission.commands = Number(line)
  permission.changed.resolve()
  permission.changed = Promise.withResolvers()
})
const apps =
  plan.way === 'naive'
    ? { desk, registrar: naiveRegistrar, finance: naiveFinance }
    : { desk, registrar, finance }
await onDatabase(apps[plan.app])
