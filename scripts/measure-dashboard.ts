/**
 * What the dashboard costs, on PostgreSQL: how long an overview takes and what it costs the server
 * with this number of rows in the outbox; handlers in a second with no page open, and with one; and
 * when the page is first painted in Chromium.
 *
 *   node scripts/measure-dashboard.ts [--rows 1000000] [--messages 6000]
 */
import { randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { parseArgs } from 'node:util'
import { Pool } from 'pg'
import { dashboard } from '../src/dashboard/index.ts'
import { Mersal } from '../src/index.ts'
import { memoryTransport } from '../src/memory.ts'
import { postgres } from '../src/postgres.ts'
import { openBrowser } from '../test/dashboard/browser.ts'
import { chainOfHandlers } from './measuring-handlers.ts'
import { percentile } from './measuring.ts'

const { values } = parseArgs({
  options: {
    rows: { type: 'string', default: '1000000' },
    messages: { type: 'string', default: '6000' },
    url: { type: 'string', default: 'postgres://postgres@127.0.0.1:5432/test' },
  },
})
const messages = Number(values.messages)
const ROUNDS = 5
const schema = `measure_${randomUUID().slice(0, 8)}`
const pool = new Pool({ connectionString: values.url, max: 12, application_name: schema })
const say = (text: string): void => void process.stdout.write(`${text}\n`)
const median = (found: readonly number[]): number =>
  percentile(
    found.toSorted((a, b) => a - b),
    0.5,
  )

const app = new Mersal({
  name: 'measured',
  store: postgres({ pool, schema }),
  transport: memoryTransport(),
  logger: false,
  receive: { concurrency: 10 },
})
const handleAll = chainOfHandlers(app, messages)

/** Handlers in a second: each message is handled, and so is the one that its handler sends. */
async function pass(): Promise<number> {
  const began = performance.now()
  await handleAll()
  return (2 * messages * 1000) / (performance.now() - began)
}

const ui = dashboard({ apps: [app], access: () => true })
const server = createServer((request, response) => void ui.node(request, response))
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
await app.start()
const browser = await openBrowser()

/** Milliseconds from the request for the page to its first paint, and to the first figures. */
async function paint(): Promise<readonly [number, number]> {
  const page = await browser.newPage()
  await page.goto(address)
  await page.waitForSelector('.figures')
  const found = await page.evaluate<[number, number]>(
    `[performance.getEntriesByName('first-contentful-paint')[0].startTime, performance.now()]`,
  )
  await page.close()
  return found
}

await pass()
const rates: Record<'closed' | 'open', number[]> = { closed: [], open: [] }
for (let round = 0; round < ROUNDS; round++) {
  rates.closed.push(await pass())
  const page = await browser.newPage()
  await page.goto(address)
  await page.waitForSelector('.figures')
  rates.open.push(await pass())
  await page.close()
}
for (const [name, found] of Object.entries(rates))
  say(`page ${name}: ${median(found).toFixed(0)} handlers/s (${found.map(Math.round).join(', ')})`)
const paints = []
for (let round = 0; round < ROUNDS; round++) paints.push(await paint())
say(`first paint: ${median(paints.map(([first]) => first)).toFixed(0)} ms, first figures:`)
say(`  ${median(paints.map(([, figures]) => figures)).toFixed(0)} ms (an empty outbox)`)
await app.stop()

const reader = postgres({ pool, schema })
await reader.open()
await pool.query(`insert into ${schema}.outbox (id, key, type, transport, kind, name, headers, body)
  select gen_random_uuid(), case when i % 2 = 0 then 'key ' || i % 50000 end, 't', 'default', 'queue', 'q' || i % 20, '{}',
    convert_to(repeat('x', 300), 'UTF8') from generate_series(1, ${Number(values.rows)}) i`)
await pool.query(`vacuum analyze ${schema}.outbox`)
const times: number[] = []
for (let round = 0; round < ROUNDS; round++) {
  const began = performance.now()
  const found = await reader.operations!.overview!({ keys: 50 })
  times.push(performance.now() - began)
  if (round === 0) say(`pending ${found.pending}, rows read ${found.rowsRead ?? 'all'}`)
}
const shown = times.map(Math.round).join(', ')
say(`overview of ${values.rows} rows: ${median(times).toFixed(0)} ms (${shown})`)

await browser.close()
server.closeAllConnections()
server.close()
await reader[Symbol.asyncDispose]()
await pool.query(`drop schema ${schema} cascade`)
await pool.end()
