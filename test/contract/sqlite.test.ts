import { describe, test } from 'vitest'
import type { Store } from '../../src/core/store.ts'
import { sqlite, type SqliteDatabase } from '../../src/sqlite.ts'
import {
  manualClock,
  onceContract,
  operationsContract,
  outboxContract,
  outboxRetentionContract,
  type RetentionHarness,
  sagaContract,
  savepointContract,
  trackerContract,
  type WakerHarness,
  wakerContract,
} from '../../src/testing/index.ts'
import {
  libraries,
  type Library,
  openHandle,
  temporaryFolder,
  type TestDatabase,
} from './sqlite-harness.ts'

type Way = 'a path' | `a handle of ${Library}`
const ways: readonly Way[] = [
  'a path',
  ...libraries.map((library) => `a handle of ${library}` as const),
]

function harness(way: Way) {
  const folder = temporaryFolder()
  const clock = manualClock()
  const path = folder.file('app.db')
  const handles: TestDatabase[] = []
  const handle = (): TestDatabase => {
    const opened = openHandle(
      way === 'a handle of better-sqlite3' ? 'better-sqlite3' : 'node:sqlite',
      path,
    )
    handles.push(opened)
    return opened
  }
  const reader = handle()
  reader.exec('PRAGMA journal_mode = WAL; CREATE TABLE business (text TEXT)')
  const openKeeping = async (keepSentMs: number): Promise<Store<SqliteDatabase>> => {
    const store: Store<SqliteDatabase> =
      way === 'a path'
        ? sqlite({ path, keepSentMs, clock })
        : sqlite({ database: handle(), keepSentMs, clock })
    await store.open()
    return store
  }
  return {
    open: () => openKeeping(0),
    openKeeping,
    write: async (tx, text) => {
      ;(tx as TestDatabase).prepare('INSERT INTO business (text) VALUES (?)').run(text)
    },
    read: async () =>
      (reader.prepare('SELECT text FROM business').all() as { text: string }[]).map(
        (row) => row.text,
      ),
    elapse: (ms) => clock.advance(ms),
    strangers: [reader, path],
    [Symbol.asyncDispose]: async () => {
      for (const each of handles) each.close()
      folder[Symbol.dispose]()
    },
  } satisfies RetentionHarness<SqliteDatabase>
}

for (const way of ways) {
  describe(`SQLite store on ${way}: outbox`, () => {
    for (const item of [
      ...outboxContract,
      ...outboxRetentionContract,
      ...operationsContract,
      ...savepointContract,
      ...sagaContract,
      ...onceContract,
    ]) {
      test(item.name, async () => {
        await using own = harness(way)
        await item.run(own)
      })
    }
  })

  describe(`SQLite store on ${way}: tracker`, () => {
    for (const item of trackerContract) {
      test(item.name, async () => {
        await using own = harness(way)
        await item.run(own)
      })
    }
  })

  for (const writer of ['the same store', 'another connection'] as const) {
    describe(`SQLite store on ${way}: waker, with commits of ${writer}`, () => {
      for (const item of wakerContract) {
        test(item.name, async () => {
          await using own = harness(way)
          await using store = await own.open()
          await using other = await own.open()
          await item.run(wakerHarness(store, writer === 'the same store' ? store : other))
        })
      }
    })
  }
}

function wakerHarness(store: Store<SqliteDatabase>, writer: Store<SqliteDatabase>): WakerHarness {
  const to = { transport: 'default', kind: 'queue', name: 'q' } as const
  const message = { id: '1', type: 'hint', headers: {}, body: new Uint8Array(), to }
  return {
    waker: store.wakers[0] ?? (() => Promise.reject(new Error('no waker'))),
    cause: async () => {
      await writer.unitOfWork((tx) => writer.outbox.save(tx, [message]))
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }
}
