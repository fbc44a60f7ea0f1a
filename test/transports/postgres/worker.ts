import { Pool } from 'pg'
import { Mersal } from '../../../src/index.ts'
import { postgres, postgresQueue } from '../../../src/postgres.ts'
import { Work } from '../../postgres/queue-harness.ts'

/** What a worker process does, told by its parent in its first argument. */
export interface Task {
  readonly url: string
  readonly schema: string
  readonly visibilityMs: number
  /**
   * `handle`: writes the label into the business table, until it is told to stop. `hang`: says that
   * it has a message, and never ends.
   */
  readonly role: 'handle' | 'hang'
}

async function run({ url, schema, visibilityMs, role }: Task): Promise<void> {
  const pool = new Pool({ connectionString: url, max: 3, application_name: schema })
  await using app = new Mersal({
    name: 'office',
    store: postgres({ pool, schema }),
    transport: postgresQueue({ pool, schema, visibilityMs }),
    // A short hold runs out when the machine is busy, and each time that counts as a delivery.
    receive: { maxDeliveries: 1000 },
  })
  app.handle(Work, async ({ label }, { tx }) => {
    if (role === 'hang') {
      process.send?.('holding')
      await new Promise(() => {})
    }
    await tx.query(`insert into ${schema}.business values ($1)`, [label])
  })
  await app.start()
  process.send?.('ready')
  await new Promise((resolve) => process.once('message', resolve))
  await app.stop()
  await pool.end()
  process.disconnect()
}

const [, script, argument] = process.argv
if (script !== undefined && import.meta.filename === script && argument !== undefined)
  await run(JSON.parse(argument) as Task)
