import { expect, test } from 'vitest'
import { CLAIM_BYTES } from '../../../../src/core/messages/bytes.ts'
import type { OutgoingMessage } from '../../../../src/core/messages/message.ts'
import { silentLogger } from '../../../../src/core/telemetry.ts'
import { Connection } from '../../../../src/sql/sqlite/connection/connection.ts'
import { connectionSettings } from '../../../../src/sql/sqlite/options.ts'
import { sqliteQueue } from '../../../../src/sqlite.ts'
import { withinClaim } from '../../../../src/transports/queues/within-claim.ts'
import type { HeldQueueState } from '../../../../src/transports/shared/held-queue.ts'
import { queueOptionNames } from '../../../../src/transports/shared/settings.ts'
import { QueueRows } from '../../../../src/transports/sqlite/queue-rows.ts'
import { queueTables } from '../../../../src/transports/sqlite/statements.ts'
import type { TakenRow } from '../../../../src/transports/sqlite/taken.ts'
import { temporaryFolder } from '../../../contract/sqlite-harness.ts'

const MIB = 1024 * 1024

const message = (n: number): OutgoingMessage => ({
  id: String(n),
  type: 't',
  headers: {},
  body: new Uint8Array(MIB),
  to: { transport: 'default', kind: 'queue', name: 'q' },
})

test('P9: one look of a consumer reads at most 32 MiB and one message more, in the order of the queue', async () => {
  using folder = temporaryFolder()
  const options = { path: folder.file('queue.db'), logger: silentLogger }
  await using queue = sqliteQueue(options)
  await queue.subscribe('q', [])
  await Promise.all(queue.publish(Array.from({ length: 40 }, (_, n) => message(n))))

  const settings = connectionSettings('sqliteQueue', options, queueOptionNames)
  const connection = new Connection('sqlite queue', settings, queueTables)
  const rows = new QueueRows(
    { connection, queue: 'q', visibilityMs: 60_000, maxMessageBytes: 10 * MIB },
    // A look needs nothing of it.
    {} as HeldQueueState<TakenRow>,
  )
  await connection.open()
  const first = await rows.take(100)
  expect(first.messages.map(({ id }) => Number(id))).toEqual(
    Array.from({ length: 32 }, (_, n) => n),
  )
  expect(first.more).toBe(true)
  const second = await rows.take(100)
  expect(second.messages.map(({ id }) => Number(id))).toEqual([32, 33, 34, 35, 36, 37, 38, 39])
  expect(second.more).toBe(false)
  await connection.close()
})

test('of rows, the first ones are taken until they have the bytes of a claim', () => {
  const half = CLAIM_BYTES / 2
  expect(withinClaim([half, half, 1], (bytes) => bytes)).toEqual([half, half])
  expect(withinClaim([half, half - 1, half, 1], (bytes) => bytes)).toEqual([half, half - 1, half])
  expect(withinClaim([0, 0], (bytes) => bytes)).toEqual([0, 0])
  expect(withinClaim([], () => 1)).toEqual([])
})
