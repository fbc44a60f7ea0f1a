import pg from 'pg'
import { silentLogger } from '../../../src/core/telemetry.ts'
import { createRelays } from '../../../src/index.ts'
import { postgres } from '../../../src/postgres.ts'
import { tableBroker } from './table-broker.ts'

// A relay in a process of its own, which may be killed.
const url = process.argv[2] as string
const pool = new pg.Pool({ connectionString: url, max: 4 })
pool.on('error', () => {})
const logger = silentLogger
const relays = createRelays({
  stores: { main: postgres({ pool, listen: false, logger }) },
  transport: tableBroker(url),
  relay: { commitLog: true },
  logger,
})
await relays.start()
process.send?.('started')
