import { AsyncLocalStorage } from 'node:async_hooks'
import { describe, expect, test } from 'vitest'
import type { OutgoingMessage } from '../../../../src/core/messages/message.ts'
import { silentLogger } from '../../../../src/core/telemetry.ts'
import type { Delivery, Disposition } from '../../../../src/core/transport.ts'
import { sqliteQueue, type SqliteQueue } from '../../../../src/sqlite.ts'
import { openHandle, temporaryFolder } from '../../../contract/sqlite-harness.ts'

const to = { transport: 'default', kind: 'queue', name: 'q' } as const
const message = (id: string, more: Partial<OutgoingMessage> = {}): OutgoingMessage => ({
  id,
  type: 't',
  headers: { a: 'b' },
  body: new Uint8Array([1, 2]),
  to,
  ...more,
})
const publish = (queue: SqliteQueue, ...messages: OutgoingMessage[]) =>
  Promise.all(queue.publish(messages))

/** An idle consumer, which answers when it is told to. */
async function consumer(queue: SqliteQueue, concurrency = 10) {
  const waiting = new Map<string, { delivery: Delivery; answer: (given: Disposition) => void }>()
  const ids: string[] = []
  const probe = Promise.withResolvers<void>()
  let most = 0
  const consuming = await queue.consume({ queue: 'q', concurrency }, async (delivery) => {
    const { id } = delivery.message
    if (id === 'probe') {
      probe.resolve()
      return { kind: 'ack' }
    }
    ids.push(id)
    return new Promise((answer) => {
      waiting.set(id, { delivery, answer })
      most = Math.max(most, waiting.size)
    })
  })
  // Whoever has handled something and finds no more is idle.
  await publish(queue, message('probe'))
  await probe.promise
  await new Promise((resolve) => setImmediate(resolve))
  const answer = (id: string, disposition: Disposition): void => {
    waiting.get(id)?.answer(disposition)
    waiting.delete(id)
  }
  return {
    ids,
    most: () => most,
    delivery: (id: string) => waiting.get(id)?.delivery,
    answer,
    ack: (id: string) => answer(id, { kind: 'ack' }),
    [Symbol.asyncDispose]: async () => {
      for (const id of waiting.keys()) answer(id, { kind: 'ack' })
      await consuming[Symbol.asyncDispose]()
    },
  }
}

function opened() {
  const folder = temporaryFolder()
  const path = folder.file('queue.db')
  const queue = sqliteQueue({ path, logger: silentLogger, pollIntervalMs: 60_000 })
  const rows = (): unknown[] => {
    const database = openHandle('node:sqlite', path)
    const all = database
      .prepare(
        'SELECT id, attempts, token IS NOT NULL AS held FROM mersal_queue_messages ORDER BY position',
      )
      .all()
    database.close()
    return all
  }
  return {
    queue,
    rows,
    path,
    [Symbol.asyncDispose]: async () => {
      await queue[Symbol.asyncDispose]()
      folder[Symbol.dispose]()
    },
  }
}

describe('an idle consumer of the same process', () => {
  test('has the message with the commit, held by it and counted as a first delivery', async () => {
    await using place = opened()
    await using own = await consumer(place.queue)
    await publish(place.queue, message('a', { partitionKey: 'k' }))
    // Without another turn: nobody had to look.
    expect(own.ids).toEqual(['a'])
    expect(place.rows()).toEqual([{ id: 'a', attempts: 1, held: 1 }])
    expect(own.delivery('a')).toMatchObject({
      attempt: 1,
      queue: 'q',
      message: { id: 'a', type: 't', headers: { a: 'b' }, body: new Uint8Array([1, 2]) },
    })
    own.ack('a')
    await expect.poll(place.rows).toEqual([])
  })

  test('P12: gets bytes of its own, which the sender cannot change any more', async () => {
    await using place = opened()
    await using own = await consumer(place.queue)
    const body = new Uint8Array([1, 2])
    await publish(place.queue, message('a', { body }))
    body[0] = 9
    expect(own.delivery('a')?.message.body).toEqual(new Uint8Array([1, 2]))
  })

  test('P5: gets nothing of a key of which an earlier message is there, held or waiting', async () => {
    await using place = opened()
    await using own = await consumer(place.queue)
    const keyed = (id: string) => message(id, { partitionKey: 'k' })
    await publish(place.queue, keyed('a'), keyed('b'), message('free'))
    await publish(place.queue, keyed('c'))
    expect(own.ids).toEqual(['a', 'free'])
    own.ack('a')
    await expect.poll(() => own.ids).toContain('b')
    own.ack('b')
    await expect.poll(() => own.ids).toContain('c')
    expect(own.ids).toEqual(['a', 'free', 'b', 'c'])
  })

  test('has never more in its hands than it asked for, whoever publishes at the same time', async () => {
    await using place = opened()
    await using own = await consumer(place.queue, 3)
    const calls = Array.from({ length: 10 }, (_, number) =>
      publish(place.queue, message(`${number}`)),
    )
    await Promise.all(calls)
    expect(own.ids).toHaveLength(3)
    for (let answered = 0; answered < 10; answered += 1) {
      await expect.poll(() => own.ids.length).toBeGreaterThan(answered)
      own.ack(own.ids[answered] ?? '')
    }
    expect(own.most()).toBe(3)
    expect([...own.ids].sort()).toEqual(Array.from({ length: 10 }, (_, number) => `${number}`))
  })

  test('gets nothing of a call whose transaction was rolled back, and all of it once it is repeated', async () => {
    await using place = opened()
    await using own = await consumer(place.queue, 2)
    const database = openHandle('node:sqlite', place.path)
    database.exec(
      `CREATE TRIGGER no BEFORE INSERT ON mersal_queue_messages WHEN new.id = 'bad' BEGIN SELECT raise(ABORT, 'no'); END`,
    )
    database.close()
    // They share a transaction, which is rolled back and begun again without the one that fails.
    const answers = await Promise.all([
      publish(place.queue, message('a')),
      publish(place.queue, message('bad')),
      publish(place.queue, message('b')),
    ])
    expect(answers.flat().map(({ kind }) => kind)).toEqual([
      'confirmed',
      'unavailable',
      'confirmed',
    ])
    expect(own.ids).toEqual(['a', 'b'])
  })

  test('calls its handler in its own asynchronous context, and not in that of the sender', async () => {
    await using place = opened()
    const context = new AsyncLocalStorage<string>()
    const seen: (string | undefined)[] = []
    const consuming = await context.run('consumer', () =>
      place.queue.consume({ queue: 'q', concurrency: 1 }, async () => {
        seen.push(context.getStore())
        return { kind: 'ack' }
      }),
    )
    await context.run('sender', async () => {
      for (const id of ['a', 'b', 'c']) await publish(place.queue, message(id))
    })
    await expect.poll(() => seen).toEqual(['consumer', 'consumer', 'consumer'])
    await consuming[Symbol.asyncDispose]()
  })

  test('takes a message again when its delay is over, although it has nothing else to do', async () => {
    await using place = opened()
    await using own = await consumer(place.queue, 1)
    await publish(place.queue, message('first'))
    own.answer('first', { kind: 'retry', delayMs: 50, error: new Error('later') })
    await expect.poll(() => own.ids).toEqual(['first', 'first'])
    expect(own.delivery('first')?.attempt).toBe(2)
  })

  test('that is being stopped gets nothing any more', async () => {
    await using place = opened()
    const own = await consumer(place.queue)
    const stopped = own[Symbol.asyncDispose]()
    await publish(place.queue, message('a'))
    await stopped
    expect(own.ids).toEqual([])
    expect(place.rows()).toEqual([{ id: 'a', attempts: 0, held: 0 }])
  })
})
