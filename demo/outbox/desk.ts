/** Hands in the commands: the line is ticked off and the command is sent in one transaction. */
import { Mersal, stopOnSignals } from '../../src/index.ts'
import { endBecause, endWithParent, readCommands } from '../child.ts'
import { appName } from '../child-broker.ts'
import { onDatabase } from '../child-database.ts'
import { RegisterStudent } from '../messages.ts'
import { parts } from './open.ts'

/** How many commands may be handed in by now; the parent says it. */
const permission = { commands: 0, changed: Promise.withResolvers<void>() }
endWithParent((line) => {
  permission.commands = Number(line)
  permission.changed.resolve()
  permission.changed = Promise.withResolvers()
})

await onDatabase('desk', async (database) => {
  const app = new Mersal({
    ...parts('desk', database),
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
})
