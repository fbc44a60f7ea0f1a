/** Hands in the commands: the line is ticked off and the command is sent in one transaction. */
import { Mersal, runUntilSignal } from '../../src/index.ts'
import { endWithParent, openDatabase, readCommands } from '../child.ts'
import { RegisterStudent } from '../messages.ts'
import { parts } from './open.ts'

endWithParent()
const app = new Mersal({ name: 'desk', ...parts('desk.db'), sendOnly: true, routes: { [RegisterStudent.name]: 'registrar' } })
const ended = runUntilSignal(app)
await app.start()

const done = new Set(
  openDatabase('desk.db')
    .prepare('SELECT line FROM handed_in')
    .all()
    .map(({ line }) => line),
)
for (const command of readCommands().filter(({ line }) => !done.has(line))) {
  await app.transaction(async (tx, { send }) => {
    tx.prepare('INSERT INTO handed_in (line) VALUES (?)').run(command.line)
    await send(RegisterStudent, command)
  })
}
process.exit(await ended)
