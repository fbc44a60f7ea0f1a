import { describe, expect, test } from 'vitest'
import type { OutgoingMessage } from '../../../../src/core/messages/message.ts'
import { silentLogger } from '../../../../src/core/telemetry.ts'
import type { Delivery, Disposition } from '../../../../src/core/transport.ts'
import { type SqliteQueue, sqliteQueue, type SqliteQueueOptions } from '../../../../src/sqlite.ts'
import { manualClock } from '../../../../src/testing/index.ts'
import { libraries, openHandle, temporaryFolder } from '../../../contract/sqlite-harness.ts'

function message(id: string, extra: Partial<OutgoingMessage> = {}): OutgoingMessage {
  const to = { transport: 'default', kind: 'queue', name: 'q' } as const
  return {
    id,
    type: 't',
    headers: { 'partition-key': 'x' },
    body: new Uint8Array([0, 255, 1]),
    to,
    ...extra,
  }
}

const topic = (name: string): Pick<OutgoingMessage, 'to'> => ({
  to: { transport: 'default', kind: 'topic', name },
})

const publish = (queue: SqliteQueue, ...messages: OutgoingMessage[]) =>
  Promise.all(queue.publish(messages))
const kinds = async (queue: SqliteQueue, ...messages: OutgoingMessage[]) =>
  (await publish(queue, ...messages)).map((outcome) => outcome.kind)

async function newQueue(
  folder: { file(name: string): string },
  options: SqliteQueueOptions = {},
): Promise<SqliteQueue> {
  const queue = sqliteQueue({ path: folder.file('queue.db'), logger: silentLogger, ...options })
  await queue.subscribe('q', [])
  return queue
}

/** Collects deliveries until this number has come, answering each. */
function collector(
  count: number,
  answer: (delivery: Delivery) => Disposition | Promise<Disposition> = () => ({ kind: 'ack' }),
) {
  const { promise, resolve } = Promise.withResolvers<void>()
  const deliveries: Delivery[] = []
  const onDelivery = async (delivery: Delivery): Promise<Disposition> => {
    deliveries.push(delivery)
    if (deliveries.length === count) resolve()
    return answer(delivery)
  }
  return {
    onDelivery,
    deliveries,
    done: promise,
    ids: () => deliveries.map((delivery) => delivery.message.id),
  }
}

describe('SQLite queue: publishing', () => {
  test('what nobody takes is refused as unroutable, and may be tried again', async () => {
    using folder = temporaryFolder()
    await using queue = await newQueue(folder)
    const outcomes = await publish(
      queue,
      message('1', { to: { transport: 'default', kind: 'queue', name: 'nobody' } }),
      message('2', topic('e')),
    )
    expect(outcomes).toMatchObject([
      { kind: 'refused', reason: 'unroutable', permanent: false },
      { kind: 'refused', reason: 'unroutable', permanent: false },
    ])
  })

  test('events without subscribers are dropped if so configured', async () => {
    using folder = temporaryFolder()
    await using queue = await newQueue(folder, { eventsWithoutSubscribers: 'discard' })
    expect(await kinds(queue, message('1', topic('e')))).toEqual(['confirmed'])
  })

  test('a message above the limit is refused for good, and later ones of its key are held back', async () => {
    using folder = temporaryFolder()
    await using queue = await newQueue(folder, { maxMessageBytes: 100 })
    const large = message('2', { partitionKey: 'k', body: new Uint8Array(101) })
    const outcomes = await publish(
      queue,
      message('1', { partitionKey: 'k' }),
      large,
      message('3', { partitionKey: 'k' }),
      message('4'),
    )
    expect(outcomes).toMatchObject([
      { kind: 'confirmed' },
      { kind: 'refused', reason: 'too-large', permanent: true },
      { kind: 'refused', permanent: false },
      { kind: 'confirmed' },
    ])
  })

  test('a publishing that is given up before it began is answered as unavailable, and nothing is stored', async () => {
    using folder = temporaryFolder()
    await using queue = await newQueue(folder)
    const controller = new AbortController()
    const answers = queue.publish([message('1')], { signal: controller.signal })
    controller.abort()
    expect(await Promise.all(answers)).toMatchObject([{ kind: 'unavailable' }])
    expect(await kinds(queue, message('2'))).toEqual(['confirmed'])
    const all = collector(1)
    const consumption = await queue.consume({ queue: 'q', concurrency: 5 }, all.onDelivery)
    await all.done
    await consumption[Symbol.asyncDispose]()
    expect(all.ids()).toEqual(['2'])
  })

  test('an event reaches every subscribed queue, with its bytes and headers, and none after the subscription was taken back', async () => {
    using folder = temporaryFolder()
    await using queue = await newQueue(folder)
    await queue.subscribe('q', ['e'])
    await queue.subscribe('r', ['e', 'f'])
    expect(await kinds(queue, message('1', topic('e')))).toEqual(['confirmed'])
    for (const name of ['q', 'r']) {
      const one = collector(1)
      const consumption = await queue.consume({ queue: name, concurrency: 1 }, one.onDelivery)
      await one.done
      await consumption[Symbol.asyncDispose]()
      expect(one.deliveries[0]).toMatchObject({
        queue: name,
        attempt: 1,
        message: { id: '1', type: 't', headers: { 'partition-key': 'x' } },
      })
      expect(one.deliveries[0]?.message.body).toEqual(new Uint8Array([0, 255, 1]))
    }
    await queue.subscribe('q', ['e'], { remove: true })
    await queue.subscribe('r', ['e'], { remove: true })
    expect(await kinds(queue, message('2', topic('e')))).toEqual(['refused'])
  })
})

describe('SQLite queue: consuming', () => {
  test.each(libraries)(
    'messages and subscriptions outlive the process that wrote them (%s)',
    async (library) => {
      using folder = temporaryFolder()
      const open = () => openHandle(library, folder.file('queue.db'))
      const first = open()
      {
        await using queue = sqliteQueue({ database: first })
        await queue.subscribe('q', ['e'])
        expect(await kinds(queue, message('1', topic('e')))).toEqual(['confirmed'])
      }
      first.close()
      const second = open()
      {
        await using queue = sqliteQueue({ database: second })
        expect(await kinds(queue, message('2', topic('e')))).toEqual(['confirmed'])
        const both = collector(2)
        const consumption = await queue.consume({ queue: 'q', concurrency: 1 }, both.onDelivery)
        await both.done
        await consumption[Symbol.asyncDispose]()
        expect(both.ids()).toEqual(['1', '2'])
      }
      second.close()
    },
  )

  test('P5: of one key only one message is out at a time, in order, over two competing consumers, also past retries', async () => {
    using folder = temporaryFolder()
    await using queue = await newQueue(folder)
    await using other = await newQueue(folder)
    const total = 120
    const seen: Record<string, number[]> = { a: [], b: [], c: [] }
    const out = new Set<string>()
    const overlaps: string[] = []
    const all = collector(total + total / 10, async (delivery) => {
      const [key = '', number = ''] = delivery.message.id.split('/')
      if (out.has(key)) overlaps.push(delivery.message.id)
      out.add(key)
      await new Promise((resolve) => setImmediate(resolve))
      out.delete(key)
      if (delivery.attempt === 1 && Number(number) % 10 === 0)
        return { kind: 'retry', delayMs: 1, error: new Error('again') }
      seen[key]?.push(Number(number))
      return { kind: 'ack' }
    })
    const consumptions = [
      await queue.consume({ queue: 'q', concurrency: 7 }, all.onDelivery),
      await other.consume({ queue: 'q', concurrency: 7 }, all.onDelivery),
    ]
    const messages = Array.from({ length: total }, (_, index) => {
      const key = ['a', 'b', 'c'][index % 3] as string
      return message(`${key}/${Math.floor(index / 3)}`, { partitionKey: key })
    })
    expect(new Set(await kinds(queue, ...messages))).toEqual(new Set(['confirmed']))
    await all.done
    for (const consumption of consumptions) await consumption[Symbol.asyncDispose]()
    const inOrder = Array.from({ length: total / 3 }, (_, index) => index)
    expect(seen).toEqual({ a: inOrder, b: inOrder, c: inOrder })
    expect(overlaps).toEqual([])
  })

  test('no more deliveries are in the hands of the callback than its concurrency', async () => {
    using folder = temporaryFolder()
    await using queue = await newQueue(folder)
    let now = 0
    let most = 0
    const all = collector(40, async () => {
      most = Math.max(most, ++now)
      await new Promise((resolve) => setImmediate(resolve))
      now--
      return { kind: 'ack' }
    })
    await publish(queue, ...Array.from({ length: 40 }, (_, index) => message(String(index))))
    const consumption = await queue.consume({ queue: 'q', concurrency: 4 }, all.onDelivery)
    await all.done
    await consumption[Symbol.asyncDispose]()
    expect(most).toBe(4)
  })

  test('a retry comes after its delay with the next attempt, a release with the same one', async () => {
    using folder = temporaryFolder()
    const clock = manualClock()
    await using queue = await newQueue(folder, { clock })
    const answers: Disposition[] = [
      { kind: 'release' },
      { kind: 'retry', delayMs: 60_000, error: new Error('later') },
      { kind: 'ack' },
    ]
    const { promise: retried, resolve } = Promise.withResolvers<void>()
    const all = collector(3, () => {
      const answer = answers.shift() as Disposition
      if (answer.kind === 'retry') resolve()
      return answer
    })
    await publish(queue, message('1'))
    {
      const consumption = await queue.consume({ queue: 'q', concurrency: 1 }, all.onDelivery)
      await retried
      await consumption[Symbol.asyncDispose]()
    }
    await clock.advance(59_000)
    const consumption = await queue.consume({ queue: 'q', concurrency: 1 }, all.onDelivery)
    // A consumer that finds nothing sleeps until the next message is due.
    await expect.poll(() => clock.sleeping).toBeGreaterThanOrEqual(2)
    expect(all.deliveries.length).toBe(2)
    await clock.advance(2000)
    await all.done
    await consumption[Symbol.asyncDispose]()
    expect(all.deliveries.map((delivery) => delivery.attempt)).toEqual([1, 1, 2])
  })

  test('a rejected message becomes a dead letter with its bytes, frees its key, and can be put back or discarded', async () => {
    using folder = temporaryFolder()
    await using queue = await newQueue(folder)
    const error = new Error('no such student')
    const first = collector(3, ({ message: { id } }) =>
      id === '3' ? { kind: 'ack' } : { kind: 'reject', reason: 'rejected', error },
    )
    await publish(queue, ...['1', '2', '3'].map((id) => message(id, { partitionKey: 'k' })))
    const consumption = await queue.consume({ queue: 'q', concurrency: 3 }, first.onDelivery)
    await first.done
    await consumption[Symbol.asyncDispose]()
    const letters = await queue.deadLetters.list()
    expect(letters).toMatchObject([
      {
        id: '1',
        direction: 'incoming',
        place: 'q',
        partitionKey: 'k',
        reason: 'rejected',
        error: expect.stringMatching(/^Error: no such student\n\s+at /),
        attempts: 1,
      },
      { id: '2' },
    ])
    expect(letters[0]?.body).toEqual(new Uint8Array([0, 255, 1]))
    const keys = letters.map((letter) => letter.key)
    expect(await queue.deadLetters.list({ limit: 1, after: keys[0] as string })).toMatchObject([
      { id: '2' },
    ])
    expect(await queue.deadLetters.discard([keys[1] as string, 'nonsense'])).toBe(1)
    expect(await queue.deadLetters.retry(keys)).toBe(1)
    const again = collector(1)
    const second = await queue.consume({ queue: 'q', concurrency: 1 }, again.onDelivery)
    await again.done
    await second[Symbol.asyncDispose]()
    expect(again.deliveries[0]).toMatchObject({ attempt: 1, message: { id: '1' } })
    expect(await queue.deadLetters.list()).toEqual([])
  })

  test('a callback that throws gets the message again, as a retry', async () => {
    using folder = temporaryFolder()
    await using queue = await newQueue(folder)
    const all = collector(2, ({ attempt }) => {
      if (attempt === 1) throw new Error('broken')
      return { kind: 'ack' }
    })
    await publish(queue, message('1'))
    const consumption = await queue.consume({ queue: 'q', concurrency: 1 }, all.onDelivery)
    await all.done
    await consumption[Symbol.asyncDispose]()
    expect(all.deliveries.map((delivery) => delivery.attempt)).toEqual([1, 2])
  })

  test('P7: a message whose holder stood still is taken over; the former holder hears of it and changes nothing', async () => {
    using folder = temporaryFolder()
    const frozen = manualClock()
    const running = manualClock()
    await using slow = await newQueue(folder, { clock: frozen, visibilityMs: 3000 })
    await using quick = await newQueue(folder, { clock: running, visibilityMs: 3000 })
    await publish(slow, message('1'))
    const { promise: answer, resolve } = Promise.withResolvers<Disposition>()
    const held = collector(1, () => answer)
    const first = await slow.consume({ queue: 'q', concurrency: 1 }, held.onDelivery)
    await held.done
    await running.advance(4000)
    const { promise: second, resolve: finish } = Promise.withResolvers<Disposition>()
    const { promise: third, resolve: comesAgain } = Promise.withResolvers<void>()
    const taken = collector(1, ({ attempt }) => {
      if (attempt === 2) return second
      comesAgain()
      return { kind: 'ack' }
    })
    const other = await quick.consume({ queue: 'q', concurrency: 1 }, taken.onDelivery)
    await taken.done
    expect(taken.deliveries[0]?.attempt).toBe(2)
    expect(held.deliveries[0]?.signal.aborted).toBe(false)
    await frozen.advance(1000)
    await expect.poll(() => held.deliveries[0]?.signal.aborted).toBe(true)
    resolve({ kind: 'reject', reason: 'rejected', error: new Error('too late') })
    await first[Symbol.asyncDispose]()
    expect(await quick.deadLetters.list()).toEqual([])
    finish({ kind: 'retry', delayMs: 0, error: new Error('not yet') })
    await third
    await other[Symbol.asyncDispose]()
    expect(taken.deliveries.map((delivery) => delivery.attempt)).toEqual([2, 3])
  })

  test('what was being fetched while the consumer was stopped is given back, and the attempt does not count', async () => {
    using folder = temporaryFolder()
    await using queue = await newQueue(folder)
    await publish(queue, message('1'))
    const none = collector(1)
    const stopped = await queue.consume({ queue: 'q', concurrency: 1 }, none.onDelivery)
    await stopped[Symbol.asyncDispose]()
    const one = collector(1)
    const next = await queue.consume({ queue: 'q', concurrency: 1 }, one.onDelivery)
    await one.done
    await next[Symbol.asyncDispose]()
    expect(none.deliveries).toEqual([])
    expect(one.deliveries[0]?.attempt).toBe(1)
  })

  test('a consumer that lives keeps its message beyond the visibility time', async () => {
    using folder = temporaryFolder()
    const clock = manualClock()
    await using queue = await newQueue(folder, { clock, visibilityMs: 3000 })
    await using rival = await newQueue(folder, { clock, visibilityMs: 3000 })
    await publish(queue, message('1'))
    const { promise: answer, resolve } = Promise.withResolvers<Disposition>()
    const held = collector(1, () => answer)
    const first = await queue.consume({ queue: 'q', concurrency: 1 }, held.onDelivery)
    await held.done
    const never = collector(1)
    const second = await rival.consume({ queue: 'q', concurrency: 1 }, never.onDelivery)
    for (let step = 0; step < 10; step++) {
      await clock.advance(1000)
      // Any publishing waits for the renewals before it.
      await rival.subscribe('q', [])
      await queue.subscribe('q', [])
    }
    resolve({ kind: 'ack' })
    await first[Symbol.asyncDispose]()
    await second[Symbol.asyncDispose]()
    expect(never.deliveries).toEqual([])
    expect(held.deliveries[0]?.signal.aborted).toBe(false)
  })

  test('disposing waits for the callbacks in progress and for their answers to be recorded', async () => {
    using folder = temporaryFolder()
    await using queue = await newQueue(folder)
    await publish(queue, message('1'), message('2'))
    const { promise: answer, resolve } = Promise.withResolvers<Disposition>()
    const held = collector(1, () => answer)
    const consumption = await queue.consume({ queue: 'q', concurrency: 1 }, held.onDelivery)
    await held.done
    let disposed = false
    const disposing = consumption[Symbol.asyncDispose]().then(() => {
      disposed = true
    })
    await new Promise((done) => setImmediate(done))
    expect(disposed).toBe(false)
    resolve({ kind: 'ack' })
    await disposing
    expect(held.ids()).toEqual(['1'])
    const rest = collector(1)
    const next = await queue.consume({ queue: 'q', concurrency: 5 }, rest.onDelivery)
    await rest.done
    await next[Symbol.asyncDispose]()
    expect(rest.ids()).toEqual(['2'])
  })

  test('closing the transport by force aborts the deliveries and does not wait for a callback that hangs', async () => {
    using folder = temporaryFolder()
    const queue = await newQueue(folder)
    await publish(queue, message('1'))
    const held = collector(1, () => new Promise(() => {}))
    await queue.consume({ queue: 'q', concurrency: 1 }, held.onDelivery)
    await held.done
    await queue[Symbol.asyncDispose]()
    expect(held.deliveries[0]?.signal.aborted).toBe(true)
    expect(await kinds(queue, message('2'))).toEqual(['unavailable'])
  })
})

test('a backlog is worked off without keeping timers and sockets from their turns', async () => {
  using folder = temporaryFolder()
  await using queue = await newQueue(folder)
  const count = 2000
  await publish(queue, ...Array.from({ length: count }, (_, index) => message(String(index))))
  const { onDelivery, done } = collector(count)
  let working = true
  let turns = 0
  const turn = (): void => {
    turns++
    if (working) setImmediate(turn)
  }
  setImmediate(turn)
  const began = performance.now()
  const consumer = await queue.consume({ queue: 'q', concurrency: 5 }, onDelivery)
  await done
  working = false
  expect(turns).toBeGreaterThan((performance.now() - began) / 100)
  await consumer[Symbol.asyncDispose]()
})

test('a consumer that comes while the queue is being closed is refused', async () => {
  using folder = temporaryFolder()
  const queue = await newQueue(folder)
  const consuming = queue.consume({ queue: 'q', concurrency: 1 }, () =>
    Promise.resolve({ kind: 'ack' }),
  )
  await Promise.resolve()
  const closing = queue[Symbol.asyncDispose]()
  await expect(consuming).rejects.toMatchObject({ code: 'MERSAL_STORE_FAILED' })
  await closing
})
