/**
 * Memory of the relay with a backlog: `node scripts/measure-memory.ts [rows ...]`, default 1000 and
 * 1,000,000 rows on SQLite, each relayed by a process of its own to a transport that confirms at
 * once.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { fileURLToPath } from 'node:url'
import { Mersal } from '../src/index.ts'
import { sqlite } from '../src/sqlite.ts'
import { confirming } from './measuring.ts'

const BODY = JSON.stringify({ studentId: 'a'.repeat(200) })

/** Rows as the store would write them: one in four without a key, the others over 10,000 keys. */
async function fill(path: string, rows: number): Promise<void> {
  await using store = sqlite({ path })
  await store.open()
  const database = new DatabaseSync(path)
  database.exec('BEGIN')
  const insert = database.prepare(`
    INSERT INTO mersal_outbox (visible_at, id, type, transport, kind, name, partition_key, created_at, headers, body)
    VALUES (0, ?, 'students.registered', 'default', 'topic', 'students.registered', ?, 0, '{}', CAST(? AS BLOB))`)
  for (let index = 0; index < rows; index += 1)
    insert.run(`row-${index}`, index % 4 === 0 ? null : `key-${index % 10_000}`, BODY)
  database.exec('COMMIT')
  database.close()
}

/** In the process that is measured. */
async function relay(path: string): Promise<void> {
  let published = 0
  const transport = confirming('per-key', () => (published += 1))
  const app = new Mersal({ name: 'relay', store: sqlite({ path }), transport, sendOnly: true })
  let peak = 0
  const look = (): void => void (peak = Math.max(peak, process.memoryUsage.rss()))
  const timer = setInterval(look, 20)
  const started = performance.now()
  await app.start()
  await app.drain()
  const seconds = (performance.now() - started) / 1000
  clearInterval(timer)
  look()
  await app.stop()
  process.stdout.write(
    JSON.stringify({
      published,
      peakMiB: Math.round(peak / 1_048_576),
      seconds: Number(seconds.toFixed(2)),
    }),
  )
}

async function measure(rows: number): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'mersal-measure-'))
  try {
    const path = join(folder, 'outbox.db')
    await fill(path, rows)
    const child = spawnSync(
      process.execPath,
      ['--no-warnings', fileURLToPath(import.meta.url), '--relay', path],
      { encoding: 'utf8' },
    )
    if (child.status !== 0) throw new Error(child.stderr)
    process.stdout.write(`${rows} rows: ${child.stdout}\n`)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

const [first, path] = process.argv.slice(2)
if (first === '--relay' && path !== undefined) await relay(path)
else {
  process.stdout.write(
    `node ${process.version}, SQLite ${process.versions['sqlite']}, ${process.platform} ${process.arch}\n`,
  )
  const given = process.argv.slice(2).map(Number)
  for (const rows of given.length > 0 ? given : [1000, 1_000_000]) await measure(rows)
}
