/**
 * Memory and time of one transaction with very many bytes: `node
 * scripts/measure-large-transaction.ts [--stores postgres,sqlite] [--messages 1100] [--mib 1]`.
 * Each store in a process of its own; the bodies are made one by one, as an application would.
 */
import { spawnSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Pool } from 'pg'
import { command, isMersalError, Mersal, type Store } from '../src/index.ts'
import { memoryTransport } from '../src/memory.ts'
import { postgres } from '../src/postgres.ts'
import { sqlite } from '../src/sqlite.ts'

const { values } = parseArgs({
  options: {
    stores: { type: 'string', default: 'postgres,sqlite' },
    messages: { type: 'string', default: '1100' },
    mib: { type: 'string', default: '1' },
    only: { type: 'string' },
    url: { type: 'string', default: 'postgres://postgres@127.0.0.1:5432/test' },
  },
})
const messages = Number(values.messages)
const text = 'x'.repeat(Number(values.mib) << 20)
const Large = command<{ text: string }>('measure.large')

interface Opened extends AsyncDisposable {
  readonly store: Store<unknown>
  /** Rows that are stored at the end. */
  readonly rows: () => Promise<number>
}

async function onPostgres(): Promise<Opened> {
  const schema = `measure_${randomUUID().slice(0, 8)}`
  const pool = new Pool({ connectionString: values.url, max: 3 })
  const store = postgres({ pool, schema })
  return {
    store: store as unknown as Store<unknown>,
    rows: async () =>
      Number((await pool.query(`select count(*) as n from ${schema}.outbox`)).rows[0].n),
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]()
      await pool.query(`drop schema ${schema} cascade`)
      await pool.end()
    },
  }
}

async function onSqlite(): Promise<Opened> {
  const folder = mkdtempSync(join(tmpdir(), 'mersal-large-'))
  const store = sqlite({ path: join(folder, 'store.db') })
  return {
    store: store as unknown as Store<unknown>,
    rows: async () => (await store.admin.stats()).pending,
    async [Symbol.asyncDispose]() {
      await store[Symbol.asyncDispose]()
      rmSync(folder, { recursive: true })
    },
  }
}

/** Highest resident memory of this process so far, in MiB. */
function peakMib(): number {
  const kib = /VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]
  return Math.round(Number(kib) / 1024)
}

async function measure(open: () => Promise<Opened>): Promise<void> {
  await using opened = await open()
  const app = new Mersal({
    name: 'measure',
    store: opened.store,
    transport: memoryTransport(),
    routes: { 'measure.large': 'large' },
    outbox: { runRelay: false },
    sendOnly: true,
    logger: false,
  })
  await app.start()
  const started = performance.now()
  let outcome = 'committed'
  try {
    await app.transaction(async (_tx, { send }) => {
      for (let n = 0; n < messages; n += 1) await send(Large, { text })
    })
  } catch (error) {
    outcome = isMersalError(error) ? `${error.code}: ${error.message}` : String(error)
  }
  const seconds = ((performance.now() - started) / 1000).toFixed(1)
  const rows = await opened.rows()
  process.stdout.write(`${outcome}; ${seconds} s, ${rows} rows, peak ${peakMib()} MiB\n`)
  await app.stop()
}

if (values.only === undefined) {
  for (const store of values.stores.split(',')) {
    process.stdout.write(`${store}: ${messages} messages of ${values.mib} MiB: `)
    const path = fileURLToPath(import.meta.url)
    const args = ['--messages', values.messages, '--mib', values.mib, '--url', values.url]
    const { status } = spawnSync(process.execPath, [path, '--only', store, ...args], {
      stdio: 'inherit',
    })
    if (status !== 0) process.stdout.write(`ended with ${status}\n`)
  }
} else await measure(values.only === 'sqlite' ? onSqlite : onPostgres)
