import { silentLogger } from '../../src/core/telemetry.ts'
import type { Transport } from '../../src/core/transport.ts'
import { sqliteQueue, type SqliteQueue } from '../../src/sqlite.ts'
import { manualClock, type TransportHarness } from '../../src/testing/index.ts'
import {
  libraries,
  type Library,
  openHandle,
  temporaryFolder,
  type TestDatabase,
} from './sqlite-harness.ts'
import { transportSuite } from './transport-suite.ts'

type Way = 'a path' | `a handle of ${Library}`
const ways: readonly Way[] = [
  'a path',
  ...libraries.map((library) => `a handle of ${library}` as const),
]
const visibilityMs = 30_000

function harness(way: Way): TransportHarness {
  const folder = temporaryFolder()
  const path = folder.file('queue.db')
  const clock = manualClock()
  const handles: TestDatabase[] = []
  const queues: SqliteQueue[] = []
  const options = { clock, visibilityMs, maxMessageBytes: 2_000_000, logger: silentLogger }
  const open = (): SqliteQueue => {
    if (way !== 'a path')
      handles.push(
        openHandle(way === 'a handle of better-sqlite3' ? 'better-sqlite3' : 'node:sqlite', path),
      )
    const database = handles.at(-1)
    const queue = sqliteQueue(
      database === undefined ? { path, ...options } : { database, ...options },
    )
    queues.push(queue)
    return queue
  }
  return {
    open: () => Promise.resolve<Transport>(open()),
    orderPerKey: 'always',
    name: (label) => label,
    elapse: (ms) => clock.advance(ms),
    crash: async (transport) => {
      await transport[Symbol.asyncDispose]()
      await clock.advance(visibilityMs)
    },
    deadLetters: () => open().deadLetters,
    [Symbol.asyncDispose]: async () => {
      for (const queue of queues) await queue[Symbol.asyncDispose]()
      for (const handle of handles) handle.close()
      folder[Symbol.dispose]()
    },
  }
}

for (const way of ways) transportSuite(`SQLite queue on ${way}`, () => harness(way))
