/** What both parts of the demo need: a folder with files, the counts for the view, waiting for a state. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { sqlite, sqliteQueue } from '../src/sqlite.ts'
import type { Registration } from './messages.ts'
import { StudentRegistered } from './messages.ts'
import { type Reconciliation, reconcile } from './reconcile.ts'
import type { View } from './view.ts'

export interface Scene {
  readonly folder: string
  readonly commands: readonly Registration[]
  readonly random: () => number
  readonly view: View
}

const tables = {
  registrar: 'CREATE TABLE students (id TEXT NOT NULL, line INTEGER NOT NULL, name TEXT NOT NULL, programme TEXT NOT NULL)',
  finance: 'CREATE TABLE financial_registrations (student_id TEXT NOT NULL, line INTEGER NOT NULL, name TEXT NOT NULL)',
  desk: 'CREATE TABLE handed_in (line INTEGER PRIMARY KEY)',
} as const

/** Empty files. There is no unique constraint on purpose: an effect that happens twice must show. */
export async function prepare({ folder, commands }: Scene, withOutbox: boolean): Promise<void> {
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'commands.json'), JSON.stringify(commands))
  for (const [name, sql] of Object.entries(tables)) {
    const path = join(folder, `${name}.db`)
    const database = new DatabaseSync(path)
    database.exec('PRAGMA journal_mode = WAL')
    database.exec(sql)
    database.close()
    if (!withOutbox) continue
    await using store = sqlite({ path })
    await store.open()
  }
  await using broker = sqliteQueue({ path: join(folder, 'broker.db') })
  await broker.subscribe('registrar', [])
  await broker.subscribe('finance', [StudentRegistered.name])
  await broker.subscribe('audit', [StudentRegistered.name])
}

export interface Waiting {
  readonly until: (numbers: Reconciliation) => boolean
  readonly deadline: number
  /** Rejects when something failed meanwhile. */
  readonly failure: Promise<unknown>
}

/** Looks at the files until the condition holds; false if the deadline came first. */
export async function watch({ folder, commands, view }: Scene, { until, deadline, failure }: Waiting): Promise<boolean> {
  const failed = failure.then(() => new Promise<never>(() => {}))
  for (;;) {
    const numbers = reconcile(folder, commands.length)
    const total = commands.length
    view.progress([
      { label: 'students', done: numbers.students, total },
      { label: 'events published', done: numbers.events, total },
      { label: 'financial registrations', done: numbers.financial, total },
    ])
    if (until(numbers)) return true
    if (performance.now() > deadline) return false
    await Promise.race([sleep(150), failed])
  }
}

/** A whole number from `low` to `high`. */
export function between(random: () => number, low: number, high: number): number {
  return low + Math.floor(random() * (Math.max(high, low) - low + 1))
}
