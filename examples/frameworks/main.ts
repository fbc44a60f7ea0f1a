/**
 * `node examples/frameworks/main.ts` places an order with each of the servers, and prints what they
 * answer.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sqliteQueue } from '../../src/sqlite.ts' // in your program: 'mersal/sqlite'
import { openExpress } from './express.ts'
import { openFastify } from './fastify.ts'
import { openHono } from './hono.ts'
import { OrderPlaced } from './shop.ts'

for (const open of [openExpress, openFastify, openHono]) {
  const folder = mkdtempSync(join(tmpdir(), 'mersal-example-'))
  // Somebody wants the event: without a queue for it, the relay would complain, and try again.
  const broker = sqliteQueue({ path: `${folder}/broker.db` })
  await broker.subscribe('mail', [OrderPlaced.name])
  await broker[Symbol.asyncDispose]()
  const server = await open(folder)
  const response = await fetch(`${server.url}/orders`, {
    method: 'POST',
    body: JSON.stringify({ item: 'book' }),
    headers: { 'content-type': 'application/json' },
  })
  process.stdout.write(`${open.name}: ${response.status} ${await response.text()}\n`)
  await server.close()
  rmSync(folder, { recursive: true, force: true })
}
