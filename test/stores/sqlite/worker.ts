import { once } from 'node:events'
import type { DatabaseSync } from 'node:sqlite'
import type { Store } from '../../../src/core/store.ts'
import { sqlite, sqliteQueue } from '../../../src/sqlite.ts'

/** What a worker process does, told by its parent in its first argument. */
export type Task =
  | { readonly role: 'migrate'; readonly path: string }
  | {
      readonly role: 'write'
      readonly path: string
      readonly name: string
      readonly keys: number
      readonly units: number
    }
  | { readonly role: 'claim'; readonly path: string; readonly name: string }
  | { readonly role: 'hold'; readonly path: string }
  | { readonly role: 'die-in-handler'; readonly path: string }

/**
 * A claimer took these rows and gave them back between the two times of the clock that all
 * processes share.
 */
export interface Held {
  readonly from: string
  readonly to: string
  readonly rows: readonly {
    readonly position: string
    readonly key: string
    readonly id: string
    readonly attempt: number
  }[]
}

const tell = (message: unknown): void => {
  process.send?.(message)
}

async function migrate(path: string): Promise<void> {
  await using store = sqlite({ path })
  await store.open()
  await using queue = sqliteQueue({ path })
  await queue.subscribe('q', ['t'])
}

/**
 * Each unit numbers one row of one key in the business table and sends a message with that number,
 * and two without a key.
 */
async function write(task: Task & { readonly role: 'write' }): Promise<void> {
  await using store = sqlite({ path: task.path, busyTimeoutMs: 60_000 })
  await store.open()
  tell('ready')
  for (let index = 0; index < task.units; index++) {
    await writeOne(store, `k${index % task.keys}`, `${task.name}-${index}`)
    if (index % 10 === 0) tell('progress')
  }
}

async function writeOne(store: Store<DatabaseSync>, key: string, name: string): Promise<void> {
  await store.unitOfWork(async (tx) => {
    const { number } = tx
      .prepare('SELECT count(*) + 1 AS number FROM business WHERE key = ?')
      .get(key) as { number: number }
    tx.prepare('INSERT INTO business (key, number, name) VALUES (?, ?, ?)').run(key, number, name)
    await new Promise((resolve) => setImmediate(resolve))
    const message = (id: string) => ({
      id,
      type: name,
      headers: {},
      body: Buffer.alloc(200, 1),
      to: { transport: 'default', kind: 'queue', name: 'q' } as const,
    })
    await store.outbox.save(tx, [
      message(`${name}-a`),
      { ...message(`${key}/${number}`), partitionKey: key },
      message(`${name}-b`),
    ])
  })
}

async function claim(task: Task & { readonly role: 'claim' }): Promise<void> {
  await using store = sqlite({ path: task.path, busyTimeoutMs: 60_000 })
  await store.open()
  let last = false
  process.once('message', () => {
    last = true
  })
  tell('ready')
  for (let round = 0; ; round++) {
    const token = `${task.name}-${round}`
    const finished = last
    const claimed = await store.outbox.claim({ limit: 20, claimMs: 600_000, token })
    if (claimed.length === 0) {
      if (finished && (await store.admin.stats()).pending === 0) break
      await new Promise((resolve) => setTimeout(resolve, 2))
      continue
    }
    const from = process.hrtime.bigint().toString()
    await new Promise((resolve) => setImmediate(resolve))
    const to = process.hrtime.bigint().toString()
    await store.outbox.settle(claimed.map(({ position }) => ({ kind: 'sent', position, token })))
    const rows = claimed.map(({ position, message, attempt }) => ({
      position: position.toString(),
      key: message.partitionKey ?? '',
      id: message.id,
      attempt,
    }))
    tell({ from, to, rows } satisfies Held)
  }
  process.disconnect()
}

async function hold(path: string): Promise<void> {
  await using store = sqlite({ path })
  await store.unitOfWork(async (tx) => {
    tx.exec(`INSERT INTO business (key, number, name) VALUES ('held', 1, 'held')`)
    tell('held')
    await once(process, 'message')
  })
  process.disconnect()
}

/** Kills its own process while it handles the message. */
async function dieInHandler(path: string): Promise<void> {
  const queue = sqliteQueue({ path, visibilityMs: 50 })
  await queue.consume({ queue: 'q', concurrency: 1 }, async () => {
    process.kill(process.pid, 'SIGKILL')
    return new Promise(() => {})
  })
}

async function run(task: Task): Promise<void> {
  switch (task.role) {
    case 'migrate':
      return migrate(task.path)
    case 'write':
      return write(task)
    case 'claim':
      return claim(task)
    case 'hold':
      return hold(task.path)
    case 'die-in-handler':
      return dieInHandler(task.path)
    default:
      return task satisfies never
  }
}

const [, script, argument] = process.argv
if (script !== undefined && import.meta.filename === script && argument !== undefined)
  await run(JSON.parse(argument) as Task)
