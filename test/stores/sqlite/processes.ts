import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { Task } from './worker.ts'

export interface Worker extends AsyncDisposable {
  readonly process: ChildProcess
  readonly messages: unknown[]
  /** Resolves when the worker has said so many things. Rejects if it ends before. */
  said(count: number): Promise<void>
  /** Resolves to the exit code, or the name of the signal. */
  readonly ended: Promise<number | string>
}

/** Starts a process of its own. Disposing it kills it. */
export function startWorker(task: Task): Worker {
  const child = fork(join(import.meta.dirname, 'worker.ts'), [JSON.stringify(task)], {
    execArgv: ['--disable-warning=ExperimentalWarning'],
  })
  const messages: unknown[] = []
  child.on('message', (message) => messages.push(message))
  const ended = once(child, 'close').then(([code, signal]) => (code ?? signal) as number | string)
  return {
    process: child,
    messages,
    ended,
    async said(count) {
      let over = false
      const end = ended.then(() => (over = true))
      while (messages.length < count) {
        if (over) throw new Error(`the worker ended after ${messages.length} messages`)
        await Promise.race([once(child, 'message'), end])
      }
    },
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await ended
    },
  }
}

/** Opens the file for a moment, as another connection of the same library. */
export function inspect<Row>(path: string, sql: string): Row[] {
  const database = new DatabaseSync(path, { timeout: 5000 })
  try {
    return database.prepare(sql).all() as Row[]
  } finally {
    database.close()
  }
}

/** The business table that the workers write to. */
export function createBusinessTable(path: string): void {
  const database = new DatabaseSync(path, { timeout: 5000 })
  database.exec(
    'PRAGMA journal_mode = WAL; CREATE TABLE business (key TEXT, number INTEGER, name TEXT PRIMARY KEY); CREATE INDEX business_key ON business (key)',
  )
  database.close()
}
