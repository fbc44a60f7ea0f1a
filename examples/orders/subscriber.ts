import { writeFileSync } from 'node:fs'
import { type Mersal, stopOnSignals } from '../../src/index.ts' // in your program: 'mersal'
import type { Database, Tx } from './database.ts'

/**
 * Runs a service that only has handlers, until SIGTERM or SIGINT: then what is in hand is finished.
 */
export async function runSubscriber(
  name: string,
  app: Mersal<Tx>,
  database: Database,
): Promise<void> {
  using stopping = stopOnSignals(app)
  await app.start()
  const { READY_FILE } = process.env // for the health check of a container
  if (READY_FILE !== undefined) writeFileSync(READY_FILE, '')
  process.stdout.write(`${name} is ready\n`)
  await stopping.stopped
  await database.close()
}
