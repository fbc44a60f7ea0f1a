/**
 * What rows of hundreds of megabytes cost the small ones beside them, on PostgreSQL: `node
 * scripts/measure-huge-rows.ts [--mb 300,600] [--small 100]`. Half of the small rows lie before the
 * huge ones, half behind them. Prints the time until all small ones have arrived and until the huge
 * ones are dead letters, and the most memory of the relay's process; first without huge rows.
 */
import { spawnSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { loadavg } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Pool } from 'pg'
import { Mersal } from '../src/index.ts'
import { postgres } from '../src/postgres.ts'
import { confirming } from './measuring.ts'

const { values } = parseArgs({
  options: {
    mb: { type: 'string', default: '300,600' },
    small: { type: 'string', default: '100' },
    schema: { type: 'string' },
    url: { type: 'string', default: 'postgres://postgres@127.0.0.1:5432/test' },
  },
})
const small = Number(values.small)
const huge = values.mb === '' ? [] : values.mb.split(',').map(Number)

async function fill(pool: Pool, schema: string, sizes: readonly number[]): Promise<void> {
  await using store = postgres({ pool, schema })
  await store.open()
  const add = (count: number, type: string, body: string): Promise<unknown> =>
    pool.query(`insert into ${schema}.outbox (id, type, transport, kind, name, headers, body)
      select gen_random_uuid(), '${type}', 'default', 'queue', 'office', '{}', ${body} from generate_series(1, ${count})`)
  await add(Math.ceil(small / 2), 'small', `'{}'`)
  // The server's own making: it compresses well, so that it needs no disk.
  for (const mb of sizes) await add(1, 'huge', `convert_to(repeat('x', ${mb}000000), 'UTF8')`)
  await add(Math.floor(small / 2), 'small', `'{}'`)
}

/** In the process that is measured. */
async function relay(schema: string): Promise<void> {
  const pool = new Pool({ connectionString: values.url, max: 5 })
  let [arrived, seconds] = [0, 0]
  let began = 0
  const transport = confirming('none', async () => {
    await Promise.resolve()
    arrived += 1
    if (arrived === small) seconds = (performance.now() - began) / 1000
  })
  const store = postgres({ pool, schema })
  const app = new Mersal({ name: 'measure', store, transport, sendOnly: true, logger: false })
  began = performance.now()
  await app.start()
  const isOver = async (): Promise<boolean> =>
    arrived >= small && (await store.admin.stats()).dead >= huge.length
  while (!(await isOver())) await sleep(20)
  const all = (performance.now() - began) / 1000
  const peak = /VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]
  await app.stop()
  await pool.end()
  process.stdout.write(
    `${arrived} small rows after ${seconds.toFixed(2)} s, ${huge.length} dead letters after ${all.toFixed(2)} s, memory at most ${Math.round(Number(peak) / 1024)} MiB; load ${(loadavg()[0] ?? 0).toFixed(1)}\n`,
  )
}

async function measure(sizes: readonly number[]): Promise<void> {
  const schema = `measure_${randomUUID().slice(0, 8)}`
  await using stack = new AsyncDisposableStack()
  const pool = new Pool({ connectionString: values.url, max: 5 })
  stack.defer(() => pool.end())
  await pool.query(`create schema ${schema}`)
  stack.defer(async () => void (await pool.query(`drop schema ${schema} cascade`)))
  await fill(pool, schema, sizes)
  process.stdout.write(`${sizes.length === 0 ? 'no huge row' : `${sizes.join(' and ')} MB`}: `)
  const own = ['--schema', schema, '--mb', sizes.join(','), '--small', values.small]
  const { status } = spawnSync(
    process.execPath,
    [fileURLToPath(import.meta.url), ...own, '--url', values.url],
    { stdio: 'inherit' },
  )
  if (status !== 0) throw new Error(`the relay ended with ${status}`)
}

if (values.schema === undefined) {
  await measure([])
  for (const mb of huge) await measure([mb])
  if (huge.length > 1) await measure(huge)
} else await relay(values.schema)
