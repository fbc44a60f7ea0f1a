/**
 * Loaded before a program that is to die: `node --import trap.js program.js`. It watches the
 * clients of the database and of the broker, so that the code of Mersal is the same as ever, and
 * kills the process at the n-th coming of a moment. What it was is written down before.
 */
import { watchBroker } from './trap-broker.ts'
import { watchDatabase } from './trap-database.ts'

watchDatabase()
watchBroker()
