import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import { silentLogger } from '../../../src/core/telemetry.ts'
import { Mersal } from '../../../src/index.ts'
import { memoryTransport } from '../../../src/memory.ts'
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
  await store.unitOfWork((tx) =>
    store.outbox.save(tx, [...damages.map((_, index) => message(String(index))), message('sound')]),
  )
  const database = new DatabaseSync(path)
  for (const [index, headers] of damages.entries()) {
    database
      .prepare('UPDATE mersal_outbox SET headers = ? WHERE id = ?')
      .run(headers, String(index))
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

/** Column, what another program wrote into it, and what the reason of the dead letter names. */
const unlawful: readonly (readonly [column: string, value: string, named: string])[] = [
  ['id', '', 'id'],
  ['id', 'a\nb', 'id'],
  ['type', '', 'type'],
  ['type', 't'.repeat(256), 'type'],
  ['type', 'a\0b', 'type'],
  ['transport', 'a\r\nb', 'transport'],
  ['name', '', 'name'],
  ['name', 'q'.repeat(256), 'name'],
  ['partition_key', '', 'partitionKey'],
  ['partition_key', 'k'.repeat(256), 'partitionKey'],
  ['partition_key', 'k\u2028', 'partitionKey'],
  ['headers', JSON.stringify({ 'a b': 'x' }), "headers['a b']"],
  ['headers', JSON.stringify({ a: 'x\r\ny: z' }), "headers['a']"],
  ['headers', JSON.stringify({ a: 'x'.repeat(49_153) }), "headers['a']"],
  ['headers', JSON.stringify({ 'content-type': 'text/plain\r\nx: y' }), "headers['content-type']"],
  ['headers', JSON.stringify({ 'content-type': 'x'.repeat(256) }), "headers['content-type']"],
  [
    'headers',
    JSON.stringify({ 'Content-Type': 'application/vnd.mersal.bundle' }),
    "headers['Content-Type']",
  ],
]

test('P8: outbox rows with an unlawful type, destination, key or header become dead letters as they are, and hold up no key', async () => {
  using folder = temporaryFolder()
  const path = folder.file('app.db')
  await using store = sqlite({ path })
  const keyed = (id: string) => ({ ...message(id), partitionKey: 'k' })
  await store.unitOfWork((tx) =>
    store.outbox.save(tx, [
      keyed('first'),
      ...unlawful.map((_, index) => keyed(`bad ${index}`)),
      keyed('last'),
      message('sound'),
    ]),
  )
  const database = new DatabaseSync(path)
  for (const [index, [column, value]] of unlawful.entries()) {
    // Bytes, since a bound text would end at its NUL.
    database
      .prepare(`UPDATE mersal_outbox SET ${column} = CAST(? AS TEXT) WHERE position = ?`)
      .run(new TextEncoder().encode(value), index + 2)
  }
  database.close()
  const rows = await store.outbox.claim({ limit: 100, claimMs: 1000, token: 'a' })
  expect(rows.map((row) => row.message.id)).toEqual(['first', 'last', 'sound'])
  const letters = await store.admin.deadLetters.list()
  expect(letters.map(({ reason, blocksKey }) => [reason, blocksKey])).toEqual(
    unlawful.map(() => ['malformed', false]),
  )
  for (const [index, [column, value, named]] of unlawful.entries()) {
    const letter = letters[index]
    expect(letter?.error).toContain(`${named}: `)
    expect(letter?.body).toEqual(new Uint8Array([0, 255]))
    if (column === 'type') expect(letter?.type).toBe(value)
    if (column === 'partition_key') expect(letter?.partitionKey).toBe(value)
    if (column === 'headers') expect(letter?.headers).toEqual(JSON.parse(value))
  }
  // Whoever has put nothing right meets the same answer again.
  await store.outbox.settle(
    rows.map(({ position, token }) => ({ kind: 'sent', position, token }) as const),
  )
  await store.admin.deadLetters.retry([letters[0]?.key ?? ''])
  expect(await store.outbox.claim({ limit: 100, claimMs: 1000, token: 'b' })).toEqual([])
  expect(await store.admin.deadLetters.list()).toHaveLength(unlawful.length)
})

test('rows that the claim itself gives up are in the log and among the events, and none is published', async () => {
  using folder = temporaryFolder()
  const path = folder.file('app.db')
  const store = sqlite({ path })
  const errors: unknown[] = []
  await using app = new Mersal({
    name: 'clerk',
    store,
    transport: memoryTransport(),
    logger: { ...silentLogger, error: (fields, text) => void errors.push({ fields, text }) },
  })
  await store.open()
  await store.unitOfWork((tx) => store.outbox.save(tx, [message('1'), message('2')]))
  const database = new DatabaseSync(path)
  database.prepare("UPDATE mersal_outbox SET name = ? WHERE id = '1'").run('q\n'.repeat(5000))
  database.prepare("UPDATE mersal_outbox SET headers = 'damaged' WHERE id = '2'").run()
  database.close()
  const events: unknown[] = []
  const listen = (event: unknown): void => void events.push(event)
  subscribe('mersal:dead', listen)
  try {
    await app.start()
    await app.drain()
  } finally {
    unsubscribe('mersal:dead', listen)
  }
  const cut = `default/queue/${'q\\n'.repeat(100)}…`
  expect(events).toEqual([
    { app: 'clerk', id: '1', to: cut, reason: 'malformed' },
    { app: 'clerk', id: '2', to: 'default/queue/q', reason: 'malformed' },
  ])
  expect(errors).toMatchObject([
    {
      text: 'a message was given up; it is a dead letter now',
      fields: { id: '1', reason: 'malformed', code: 'MERSAL_INVALID_MESSAGE' },
    },
    {
      text: 'a message was given up; it is a dead letter now',
      fields: { id: '2', reason: 'malformed', code: 'MERSAL_INVALID_MESSAGE' },
    },
  ])
  expect((await store.admin.stats()).dead).toBe(2)
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
    database
      .prepare('UPDATE mersal_queue_messages SET headers = ? WHERE id = ?')
      .run(headers, String(index))
  }
  database.exec(
    "UPDATE mersal_queue_messages SET attempts = 9223372036854775807, due_at = 9223372036854775807 WHERE id = 'taken for ever'",
  )
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
  expect(letters.map(({ id, reason }) => [id, reason])).toEqual(
    damages.map((_, index) => [String(index), 'malformed']),
  )
})
