import { mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { SqliteDatabase } from '../../src/sqlite.ts'

/** A handle of either library, as the tests use it. */
export interface TestDatabase extends SqliteDatabase {
  prepare(sql: string): { all(...values: unknown[]): unknown[]; run(...values: unknown[]): unknown }
}

const BetterSqlite = createRequire(import.meta.url)('better-sqlite3') as new (
  path: string,
) => TestDatabase

export type Library = 'node:sqlite' | 'better-sqlite3'
export const libraries: readonly Library[] = ['node:sqlite', 'better-sqlite3']

export function openHandle(library: Library, path: string): TestDatabase {
  return library === 'node:sqlite' ? new DatabaseSync(path) : new BetterSqlite(path)
}

/** A folder of its own, removed when disposed. */
export function temporaryFolder(): {
  readonly path: string
  file(name: string): string
} & Disposable {
  const path = mkdtempSync(join(tmpdir(), 'mersal-sqlite-'))
  return {
    path,
    file: (name) => join(path, name),
    [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }),
  }
}
