import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import { silentLogger } from '../../../src/core/telemetry.ts'
import { sqlite, sqliteQueue } from '../../../src/sqlite.ts'
import { temporaryFolder } from '../../contract/sqlite-harness.ts'

const to = { transport: 'default', kind: 'queue', name: 'q' } as const
const damages = ['{not json', '[1]', '{"a":1}', 'null', '']

function message(id: string) {
  return { id, type: 't', headers: { a: 'b' }, body: new Uint8Array([0, 255]), to }
}

test('P8: outbox rows whose headers were damaged become dead letters with their bytes, and the others are claimed', async () => {
  using folder = temporaryFolder()
  const path = folder.file('app.db')
  await using store = sqlite({ path })
  await store.unitOfWork((tx) => store.outbox.save(tx, [...damages.map((_, index) => message(String(index))), message('sound')]))
  const database = new DatabaseSync(path)
  for (const [index, headers] of damages.entries()) {
    database.prepare('UPDATE mersal_outbox SET headers = ? WHERE id = ?').run(headers, String(index))
  }
  database.exec("UPDATE mersal_outbox SET attempts = 9223372036854775807 WHERE id = 'sound'")
  database.close()
  const rows = await store.outbox.claim({ limit: 100, claimMs: 1000, token: 'a' })
  expect(rows.map((row) => [row.message.id, row.attempt])).toEqual([['sound', 1_000_001]])
  const letters = await store.admin.deadLetters.list()
  expect(letters.map(({ id, reason, headers }) => ({ id, reason, headers }))).toEqual(
    damages.map((_, index) => ({ id: String(index), reason: 'malformed', headers: {} })),
  )
  expect(letters[0]?.body).toEqual(new Uint8Array([0, 255]))
})

test('P8: queue rows that were damaged become dead letters, and the others are delivered', async () => {
  using folder = temporaryFolder()
  const path = folder.file('queue.db')
  await using queue = sqliteQueue({ path, logger: silentLogger })
  await queue.subscribe('q', [])
  const ids = [...damages.map((_, index) => String(index)), 'taken for ever', 'sound']
  await Promise.all(queue.publish(ids.map(message)))
  const database = new DatabaseSync(path)
  for (const [index, headers] of damages.entries()) {
    database.prepare('UPDATE mersal_queue_messages SET headers = ? WHERE id = ?').run(headers, String(index))
  }
  database.exec("UPDATE mersal_queue_messages SET attempts = 9223372036854775807, due_at = 9223372036854775807 WHERE id = 'taken for ever'")
  database.close()
  const seen: string[] = []
  const { promise: both, resolve } = Promise.withResolvers<void>()
  const consumer = await queue.consume({ queue: 'q', concurrency: 10 }, async (delivery) => {
    if (seen.push(delivery.message.id) === 2) resolve()
    return { kind: 'ack' }
  })
  await both
  await consumer[Symbol.asyncDispose]()
  expect(seen).toEqual(['taken for ever', 'sound'])
  const letters = await queue.deadLetters.list()
  expect(letters.map(({ id, reason }) => [id, reason])).toEqual(damages.map((_, index) => [String(index), 'malformed']))
})
