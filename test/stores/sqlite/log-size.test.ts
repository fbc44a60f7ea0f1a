import { statSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { sqlite, type SqliteDatabase, sqliteQueue } from '../../../src/sqlite.ts'
import type { Store } from '../../../src/index.ts'
import { type Library, openHandle, temporaryFolder } from '../../contract/sqlite-harness.ts'

const MIB = 2 ** 20

const logSize = (path: string): number => statSync(`${path}-wal`).size

/** One transaction of 100 MiB. */
async function writeMuch({ unitOfWork }: Pick<Store<SqliteDatabase>, 'unitOfWork'>): Promise<void> {
  await unitOfWork(async (tx) => void tx.exec('CREATE TABLE much AS SELECT zeroblob(104857600)'))
}

/** All that is in the log is copied into the database; then the log begins anew. */
async function beginAnew(
  path: string,
  write: () => Promise<void>,
  library: Library = 'node:sqlite',
): Promise<void> {
  const reader = openHandle(library, path)
  reader.exec('PRAGMA wal_checkpoint(FULL)')
  reader.close()
  await write()
}

describe('P9: the write-ahead log of SQLite', () => {
  test.each([
    ['path', 'node:sqlite'],
    ['open', 'better-sqlite3'],
  ] as const)(
    'is cut to 64 MiB after a huge transaction, on a connection by %s of %s',
    async (by, library) => {
      using folder = temporaryFolder()
      const path = folder.file('app.db')
      await using store = (
        by === 'path' ? sqlite({ path }) : sqlite({ open: () => openHandle(library, path) })
      ) as Store<SqliteDatabase>
      await writeMuch(store)
      expect(logSize(path)).toBeGreaterThan(100 * MIB)
      const little = (): Promise<void> =>
        store.unitOfWork(async (tx) => void tx.exec('CREATE TABLE little (text)'))
      await beginAnew(path, little, library)
      expect(logSize(path)).toBeLessThanOrEqual(64 * MIB)
    },
  )

  test('is cut by the connection of a queue as well', async () => {
    using folder = temporaryFolder()
    const path = folder.file('app.db')
    await using store = sqlite({ path })
    await using queue = sqliteQueue({ path })
    await queue.subscribe('first', [])
    await writeMuch(store)
    await beginAnew(path, () => queue.subscribe('second', ['topic']))
    expect(logSize(path)).toBeLessThanOrEqual(64 * MIB)
  })

  test('keeps the limit of whoever opens the connection for us', async () => {
    using folder = temporaryFolder()
    const path = folder.file('app.db')
    await using store = sqlite({
      open() {
        const database = openHandle('node:sqlite', path)
        database.exec(`PRAGMA journal_size_limit = ${MIB}`)
        return database
      },
    }) as Store<SqliteDatabase>
    await writeMuch(store)
    await beginAnew(path, () =>
      store.unitOfWork(async (tx) => void tx.exec('CREATE TABLE little (text)')),
    )
    expect(logSize(path)).toBeLessThanOrEqual(MIB)
  })

  test('is left alone on a handle that its owner shares with us', async () => {
    using folder = temporaryFolder()
    const database = openHandle('node:sqlite', folder.file('app.db'))
    await using store = sqlite({ database })
    await store.open()
    expect(database.prepare('PRAGMA journal_size_limit').all()).toEqual([
      { journal_size_limit: -1 },
    ])
    database.close()
  })
})
