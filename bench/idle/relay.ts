/** A process that relays for many databases in which nothing happens. */
import { once } from 'node:events'
import { Pool } from 'pg'
import { createRelays } from '../../src/index.ts'
import { memoryTransport } from '../../src/memory.ts'
import { connectionBudget, postgres } from '../../src/postgres.ts'
import type { IdleJob } from './job.ts'

const job = JSON.parse(process.argv[2] ?? '') as IdleJob
const connections = connectionBudget({ most: job.most })
const relays = createRelays({
  stores: Object.fromEntries(
    job.urls.map((connectionString, index) => {
      const pool = new Pool({ connectionString, application_name: 'bench-idle' })
      return [`t${index}`, postgres({ pool, connections, listen: job.listen, migrate: 'check' })]
    }),
  ),
  transport: memoryTransport(),
  relay: { pollIntervalMs: job.pollIntervalMs },
})
const ended = once(process, 'disconnect')
await relays.start()
process.send?.('started')
await ended
await relays.stop()
process.exit(0)
