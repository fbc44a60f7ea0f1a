import { describe, expect, test } from 'vitest'
import { silentLogger } from '../../../src/core/telemetry.ts'
import type { Disposition } from '../../../src/core/transport.ts'
import { mysqlQueue, type MysqlQueue } from '../../../src/mysql.ts'
import { serverAnswers, testDatabase, type TestDatabase } from '../../mysql/server.ts'
import { message } from '../../postgres/messages.ts'

const present = await serverAnswers()

const toQueue = (label: string, queue: string, key?: string): ReturnType<typeof message> => ({
  ...message(label, key),
  to: { transport: 'default', kind: 'queue', name: queue },
})

const labelOf = (type: string): string => type.replace('test.', '')

/** Several queues on one database, as several processes have them. */
async function open(
  count: number,
): Promise<AsyncDisposable & { database: TestDatabase; queues: MysqlQueue[] }> {
  const database = await testDatabase()
  const queues = Array.from({ length: count }, () =>
    mysqlQueue({ pool: database.pool, logger: silentLogger, pollIntervalMs: 50 }),
  )
  return {
    database,
    queues,
    async [Symbol.asyncDispose]() {
      for (const queue of queues) await queue[Symbol.asyncDispose]()
      await database[Symbol.asyncDispose]()
    },
  }
}

describe.skipIf(!present)('keys of a queue on MySQL', () => {
  test('P5: many writers and readers at once keep the order of every key, and leave nothing behind', {
    timeout: 60_000,
  }, async () => {
    await using here = await open(4)
    const { database, queues } = here
    const [first, second, third, fourth] = queues as [
      MysqlQueue,
      MysqlQueue,
      MysqlQueue,
      MysqlQueue,
    ]
    await first.subscribe('work', ['test.all'])
    await first.subscribe('copy', ['test.all'])
    const [keys, rounds] = [['a', 'b', 'c', 'd', 'e'], 40]
    const seen = new Map<string, number[]>()
    const busy = new Set<string>()
    const released = new Set<string>()
    let left = keys.length * rounds * 2
    const { promise: done, resolve } = Promise.withResolvers<void>()
    const read = (queue: MysqlQueue, name: string): Promise<AsyncDisposable> =>
      queue.consume(
        { queue: name, concurrency: 7 },
        async ({ message: { headers }, attempt }): Promise<Disposition> => {
          const lane = `${name} ${headers['key']}`
          expect(busy.has(lane), `${lane} is with one consumer at a time`).toBe(false)
          busy.add(lane)
          await new Promise((go) => setImmediate(go))
          busy.delete(lane)
          const n = Number(headers['n'])
          if (attempt === 1 && n % 10 === 3)
            return { kind: 'retry', delayMs: 5, error: new Error('later') }
          if (n % 10 === 6 && !released.has(`${lane} ${n}`)) {
            released.add(`${lane} ${n}`)
            return { kind: 'release' }
          }
          seen.set(lane, [...(seen.get(lane) ?? []), n])
          if (--left === 0) resolve()
          return n % 10 === 9
            ? { kind: 'reject', reason: 'handler-failed', error: new Error('no') }
            : { kind: 'ack' }
        },
      )
    for (const queue of [second, third])
      for (const name of ['work', 'copy']) await read(queue, name)
    const write = async (queue: MysqlQueue, mine: readonly string[]): Promise<void> => {
      for (let n = 0; n < rounds; n++) {
        const messages = mine.map((key) => ({
          ...message('all', key),
          headers: { key, n: String(n) },
        }))
        const outcomes = await Promise.all(queue.publish(messages))
        expect(outcomes.map(({ kind }) => kind)).toEqual(mine.map(() => 'confirmed'))
      }
    }
    // Their keys come in another order, so that they wait for each other.
    await Promise.all([write(first, ['a', 'b', 'c']), write(fourth, ['e', 'd'])])
    await done
    const expected = Array.from({ length: rounds }, (_, n) => n)
    for (const name of ['work', 'copy'])
      for (const key of keys) expect(seen.get(`${name} ${key}`)).toEqual(expected)
    await expect.poll(() => database.query('select 1 from mersal_queue_message')).toEqual([])
    expect(await first.operations.queues({ names: [] })).toEqual([
      { queue: 'copy', dead: 20, waiting: 0 },
      { queue: 'work', dead: 20, waiting: 0 },
    ])
  })

  test('a message that was put behind one that is just being acknowledged is not forgotten', {
    timeout: 60_000,
  }, async () => {
    await using here = await open(2)
    const [writer, reader] = here.queues as [MysqlQueue, MysqlQueue]
    let count = 0
    await reader.consume({ queue: 'work', concurrency: 3 }, () => {
      count++
      return Promise.resolve({ kind: 'ack' })
    })
    for (let n = 0; n < 100; n++) {
      const [outcome] = await Promise.all(writer.publish([toQueue(String(n), 'work', 'k')]))
      expect(outcome).toEqual({ kind: 'confirmed' })
    }
    await expect.poll(() => count, { timeout: 10_000 }).toBe(100)
  })

  test('dead letters of a key go back behind what waits there, and a backlog of one key costs the others nothing', {
    timeout: 60_000,
  }, async () => {
    await using here = await open(1)
    const [queue] = here.queues as [MysqlQueue]
    await queue.subscribe('work', [])
    const order: string[] = []
    const one = await queue.consume({ queue: 'work', concurrency: 1 }, () =>
      Promise.resolve({ kind: 'reject', reason: 'handler-failed', error: new Error('é') }),
    )
    await Promise.all(queue.publish([toQueue('dead', 'work', 'k')]))
    await expect
      .poll(async () => (await queue.deadLetters.list()).length, { timeout: 5000 })
      .toBe(1)
    await one[Symbol.asyncDispose]()
    const backlog = Array.from({ length: 3000 }, (_, n) => toQueue(String(n), 'work', 'k'))
    const outcomes = await Promise.all(queue.publish([...backlog, toQueue('other', 'work', 'l')]))
    expect(new Set(outcomes.map(({ kind }) => kind))).toEqual(new Set(['confirmed']))
    const [letter] = await queue.deadLettersOf('work').list()
    expect(letter).toMatchObject({
      partitionKey: 'k',
      attempts: 1,
      error: expect.stringMatching(/é/),
    })
    expect(await queue.deadLetters.retry([letter?.key ?? ''])).toBe(1)
    const stop = await queue.consume(
      { queue: 'work', concurrency: 10 },
      ({ message: { type } }) => {
        order.push(labelOf(type))
        return Promise.resolve({ kind: 'ack' })
      },
    )
    await expect.poll(() => order.includes('other'), { timeout: 5000 }).toBe(true)
    expect(order.length).toBeLessThan(20)
    await stop[Symbol.asyncDispose]()
    const [last] = await here.database.query(
      `select type, visible_at > '9000-01-01' as waits from mersal_queue_message order by position desc limit 1`,
    )
    expect(String(last?.['type'])).toBe('test.dead')
    expect(Number(last?.['waits'])).toBe(1)
  })
})
