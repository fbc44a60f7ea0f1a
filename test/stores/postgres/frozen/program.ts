import { Pool } from 'pg'
import { Mersal, runUntilSignal } from '../../../../src/index.ts'
import { memoryTransport } from '../../../../src/memory.ts'
import { postgres } from '../../../../src/postgres.ts'

// A service whose database may stand still. It ends by itself when nothing holds it any more.
const pool = new Pool({ connectionString: process.env['PROGRAM_DATABASE'] ?? '' })
pool.on('error', () => {})
const app = new Mersal({
  name: 'frozen',
  store: postgres({ pool, schema: process.env['PROGRAM_SCHEMA'] ?? '' }),
  transport: memoryTransport(),
})
process.stdout.write('starting\n')
const code = await runUntilSignal(app)
process.stdout.write(`stopped with ${code}\n`)
