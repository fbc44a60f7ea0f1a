import { describe, expect, test } from 'vitest'
import { sqlite } from '../../../src/sqlite.ts'
import { libraries, openHandle, temporaryFolder } from '../../contract/sqlite-harness.ts'

describe.each(libraries)('the waiting of SQLite itself, with a connection of %s', (library) => {
  test('is not asked for at each BEGIN', async () => {
    using folder = temporaryFolder()
    const prepared: string[] = []
    const open = () => {
      const database = openHandle(library, folder.file('app.db'))
      const prepare = database.prepare.bind(database)
      database.prepare = (sql) => {
        prepared.push(sql)
        return prepare(sql)
      }
      return database
    }
    await using store = sqlite({ open })
    await store.open()
    await store.unitOfWork(async () => {})
    expect(prepared.filter((sql) => sql.includes('busy_timeout'))).toEqual([])
  })

  const ways = ['exec', 'prepare', ...(library === 'node:sqlite' ? [] : ['pragma'])]
  test.each(ways)(
    'is off again for the next transaction, when a unit has turned it on by %s',
    async (way) => {
      using folder = temporaryFolder()
      const open = () => openHandle(library, folder.file('app.db'))
      await using store = sqlite({ open, busyTimeoutMs: 50 })
      await store.unitOfWork(async (tx) => {
        if (way === 'exec') tx.exec('PRAGMA busy_timeout = 4000')
        else if (way === 'prepare') tx.prepare('pragma Busy_Timeout = 4000').all()
        else (tx as typeof tx & { pragma(text: string): void }).pragma('busy_timeout = 4000')
      })
      const other = open()
      other.exec('BEGIN IMMEDIATE')
      const began = performance.now()
      await expect(store.unitOfWork(async () => {})).rejects.toMatchObject({
        code: 'MERSAL_STORE_BUSY',
      })
      expect(performance.now() - began).toBeLessThan(3000)
      other.exec('COMMIT')
      other.close()
    },
  )
})
