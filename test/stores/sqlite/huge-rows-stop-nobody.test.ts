import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { silentLogger } from '../../../src/core/telemetry.ts'
import { Mersal } from '../../../src/index.ts'
import { memoryNetwork } from '../../../src/memory.ts'
import { sqlite, sqliteQueue } from '../../../src/sqlite.ts'
import { libraries, openHandle, temporaryFolder } from '../../contract/sqlite-harness.ts'

const MB = 1_000_000

describe.each(libraries)('rows that are too large to be read, with %s', (library) => {
  test.each([
    ['a body', `zeroblob(${70 * MB})`, `'{}'`],
    ['headers', `x'00'`, `'{"note":"' || replace(hex(zeroblob(${35 * MB})), '00', 'xx') || '"}'`],
  ])(
    'P8: %s of 70 MB becomes a dead letter, and small rows before and behind it arrive',
    async (_, body, headers) => {
      using folder = temporaryFolder()
      const path = folder.file('outbox.db')
      const handle = openHandle(library, path)
      const store = sqlite({ path })
      const network = memoryNetwork({ eventsWithoutSubscribers: 'discard' })
      await using listener = network.transport()
      const heard: string[] = []
      await listener.subscribe('listener', ['small'])
      await listener.consume({ queue: 'listener', concurrency: 1 }, async ({ message }) => {
        await Promise.resolve()
        heard.push(message.type)
        return { kind: 'ack' }
      })
      await store.open()
      const insert = `insert into mersal_outbox (visible_at, id, type, transport, kind, name, created_at, headers, body)
      values (0, hex(randomblob(8)), 'small', 'default', 'topic', 'small', 0,`
      for (const content of [`'{}', x'00'`, `${headers}, ${body}`, `'{}', x'00'`])
        handle.exec(`${insert} ${content})`)
      const app = new Mersal({ name: 'huge', store, transport: network.transport(), logger: false })
      await app.start()
      while (heard.length < 2 || (await store.admin.stats()).dead < 1) await sleep(20)
      const [letter] = await store.admin.deadLetters.list()
      expect(letter).toMatchObject({ reason: 'too-large', blocksKey: false, headers: {} })
      expect(letter?.withheldBytes).toBeGreaterThan(64 * MB)
      expect(letter?.body.byteLength).toBe(0)
      expect(
        handle
          .prepare(
            'select octet_length(body) + octet_length(headers) as bytes from mersal_dead_letters',
          )
          .all(),
      ).toEqual([{ bytes: expect.toSatisfy((bytes: number) => bytes > 64 * MB) as number }])
      expect(heard).toHaveLength(2)
      await app.stop()
    },
  )

  test('P9: a queue hands out 10 messages of 5 MB in two parts, all at once, and none that is too large', async () => {
    using folder = temporaryFolder()
    const path = folder.file('queue.db')
    const handle = openHandle(library, path)
    await using queue = sqliteQueue({ path, logger: silentLogger, pollIntervalMs: 60_000 })
    await queue.subscribe('q', [])
    const insert = `insert into mersal_queue_messages (queue, visible_at, due_at, id, type, headers, body) values ('q', 0, 0, 'i', 't', '{}',`
    handle.exec(`${insert} zeroblob(${70 * MB}))`)
    for (let index = 0; index < 10; index++) handle.exec(`${insert} zeroblob(${5 * MB}))`)
    const sizes: number[] = []
    const all = Promise.withResolvers<void>()
    await queue.consume({ queue: 'q', concurrency: 20 }, async ({ message }) => {
      sizes.push(message.body.byteLength)
      if (sizes.length === 10) all.resolve()
      await all.promise
      return { kind: 'ack' }
    })
    await all.promise
    expect(sizes).toEqual(Array.from({ length: 10 }, () => 5 * MB))
    while ((await queue.deadLetters.list()).length === 0) await sleep(20)
    const [letter] = await queue.deadLetters.list()
    expect(letter).toMatchObject({ reason: 'too-large', headers: {} })
    expect(letter?.withheldBytes).toBeGreaterThan(64 * MB)
    expect(await queue.deadLetters.retry([letter?.key ?? ''])).toBe(1)
  })
})
