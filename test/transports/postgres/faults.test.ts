import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { silentLogger } from '../../../src/core/telemetry.ts'
import type { OutgoingMessage } from '../../../src/core/messages/message.ts'
import { postgresQueue, postgresQueueMigrationSql } from '../../../src/postgres.ts'
import { serverAnswers, serverUrl, testDatabase } from '../../postgres/database.ts'
import { message as event } from '../../postgres/messages.ts'
import { pgbouncer, pgbouncerAvailable } from '../../postgres/pgbouncer.ts'
import { collecting, consume, queueHarness } from '../../postgres/queue-harness.ts'

const present = await serverAnswers()
const pooler = pgbouncerAvailable() && present

function message(label: string, more: Partial<OutgoingMessage> = {}): OutgoingMessage {
  return { ...event(label), to: { transport: 'default', kind: 'queue', name: 'q' }, ...more }
}

describe.skipIf(!present)('faults around a PostgreSQL queue', () => {
  test('P7: a consumer whose hold ran out while it worked changes nothing any more, whatever it answers', async () => {
    await using harness = await queueHarness()
    const { schema } = harness.database
    for (const late of [
      { kind: 'ack' },
      { kind: 'retry', delayMs: 0, error: new Error('late') },
      { kind: 'release' },
      { kind: 'reject', reason: 'rejected', error: new Error('late') },
    ] as const) {
      const [slow, quick] = [harness.queue(), harness.queue({ pollIntervalMs: 20 })]
      await slow.subscribe('q', [])
      await Promise.all(slow.publish([message('one')]))
      const taken = Promise.withResolvers<AbortSignal>()
      const answer = Promise.withResolvers<typeof late>()
      const working = await slow.consume({ queue: 'q', concurrency: 1 }, ({ signal }) => {
        taken.resolve(signal)
        return answer.promise
      })
      await taken.promise
      // Its time is over, by the clock of the database, before it could renew.
      await harness.database.query(`update ${schema}.queue_message set visible_at = now()`)
      const held = Promise.withResolvers<void>()
      const done = Promise.withResolvers<void>()
      const other = await quick.consume({ queue: 'q', concurrency: 1 }, async ({ attempt }) => {
        expect(attempt).toBe(2)
        held.resolve()
        await done.promise
        return { kind: 'ack' }
      })
      await held.promise
      const owner = async () =>
        await harness.database.query(
          `select token, attempts, visible_at from ${schema}.queue_message`,
        )
      const before = await owner()
      answer.resolve(late)
      await working[Symbol.asyncDispose]()
      expect(await owner()).toEqual(before)
      done.resolve()
      await other[Symbol.asyncDispose]()
      expect([await owner(), await quick.deadLetters.list()]).toEqual([[], []])
    }
  })

  test('the signal of a delivery aborts when another consumer has taken the message, and while the hold is renewed it does not', async () => {
    await using harness = await queueHarness()
    const { schema } = harness.database
    const queue = harness.queue({ visibilityMs: 300 })
    await queue.subscribe('q', [])
    await Promise.all(queue.publish([message('one')]))
    const taken = Promise.withResolvers<AbortSignal>()
    await queue.consume({ queue: 'q', concurrency: 1 }, ({ signal }) => {
      taken.resolve(signal)
      return new Promise((resolve) =>
        signal.addEventListener('abort', () => resolve({ kind: 'release' })),
      )
    })
    const signal = await taken.promise
    await sleep(700)
    const [row] = await harness.database.query(`select attempts from ${schema}.queue_message`)
    expect([row?.['attempts'], signal.aborted]).toEqual([1, false])
    await harness.database.query(
      `update ${schema}.queue_message set token = gen_random_uuid(), visible_at = now() + interval '1 hour'`,
    )
    await new Promise((resolve) => signal.addEventListener('abort', resolve))
  })

  test('a publish of another process wakes a consumer that never polls', async () => {
    await using harness = await queueHarness()
    const [reader, writer] = [harness.queue({ pollIntervalMs: 3_600_000 }), harness.queue()]
    const seen = Promise.withResolvers<void>()
    let count = 0
    await reader.consume({ queue: 'q', concurrency: 1 }, () => {
      if (++count === 3) seen.resolve()
      return Promise.resolve({ kind: 'ack' })
    })
    for (const label of ['1', '2', '3']) {
      await Promise.all(writer.publish([message(label)]))
      await sleep(30)
    }
    await seen.promise
  })

  test('a handler that fails is retried with the next attempt after a restart of everything, and its key waits', async () => {
    await using harness = await queueHarness()
    const first = harness.queue()
    await first.subscribe('q', [])
    await Promise.all(
      first.publish([message('one', { partitionKey: 'k' }), message('two', { partitionKey: 'k' })]),
    )
    const [failed] = await consume(first, 'q', 1, () => ({
      kind: 'retry',
      delayMs: 100,
      error: new Error('not yet'),
    }))
    await first[Symbol.asyncDispose]()
    const again = await consume(harness.queue({ pollIntervalMs: 20 }), 'q', 2)
    expect(
      [failed, ...again].map((delivery) => [delivery?.message.type, delivery?.attempt]),
    ).toEqual([
      ['test.one', 1],
      ['test.one', 2],
      ['test.two', 1],
    ])
  })

  test('damaged rows become dead letters or wait, and never hold up the others', async () => {
    await using harness = await queueHarness()
    const { schema } = harness.database
    const queue = harness.queue({ pollIntervalMs: 20 })
    await queue.subscribe('q', [])
    const damages: Record<string, string> = {
      'headers no json': `headers = 'not json'`,
      'headers of numbers': `headers = '{"a": 1}'`,
      'attempts negative': 'attempts = -5',
      'attempts huge': 'attempts = 2147483647',
      'due since ever': `visible_at = '-infinity'`,
      'due never': `visible_at = 'infinity'`,
      'token without hold': 'token = gen_random_uuid()',
      'empty type': `type = ''`,
    }
    await Promise.all(
      queue.publish([...Object.keys(damages).map((label) => message(label)), message('sound')]),
    )
    for (const [label, change] of Object.entries(damages)) {
      await harness.database.query(`update ${schema}.queue_message set ${change} where type = $1`, [
        `test.${label}`,
      ])
    }
    const deliveries = await consume(queue, 'q', 6)
    expect(deliveries.map(({ message: { type } }) => type)).toEqual([
      'test.attempts negative',
      'test.attempts huge',
      'test.due since ever',
      'test.token without hold',
      '',
      'test.sound',
    ])
    const letters = await queue.deadLetters.list()
    expect(letters.map(({ type, reason }) => [type, reason])).toEqual([
      ['test.headers no json', 'malformed'],
      ['test.headers of numbers', 'malformed'],
    ])
    await harness.database.query(
      `update ${schema}.queue_dead set died_at = '-infinity', reason = ''`,
    )
    expect((await queue.deadLetters.list()).map(({ diedAt }) => diedAt)).toEqual([0, 0])
    expect(await queue.deadLetters.discard(['1', 'nonsense', '-1', '999999999999999999'])).toBe(1)
  })

  test.each([
    ['a NUL in a header', { headers: { a: 'x\0y' } }],
    ['a lone surrogate in a type', { type: '\ud800' }],
    ['a body that is no bytes', { body: 'text' as unknown as Uint8Array }],
    ['a header that is no text', { headers: { a: 1 as unknown as string } }],
  ])(
    'a message with %s is refused for good, and what comes with it is sent',
    async (_name, change) => {
      await using harness = await queueHarness()
      const queue = harness.queue()
      await queue.subscribe('q', [])
      const answers = await Promise.all(queue.publish([message('bad', change), message('good')]))
      expect(answers).toMatchObject([{ kind: 'refused', permanent: true }, { kind: 'confirmed' }])
      expect((await consume(queue, 'q', 1)).map(({ message: { type } }) => type)).toEqual([
        'test.good',
      ])
    },
  )

  test('a message that the server refuses does not stop those that come with it, except of its key', async () => {
    await using harness = await queueHarness()
    const { schema } = harness.database
    const queue = harness.queue()
    await queue.subscribe('q', [])
    await harness.database.query(
      `alter table ${schema}.queue_message add check (type <> 'test.bad')`,
    )
    const labels = [
      ['1', 'k'],
      ['bad', 'k'],
      ['2', 'k'],
      ['3', 'l'],
    ] as const
    const answers = await Promise.all(
      queue.publish(labels.map(([label, partitionKey]) => message(label, { partitionKey }))),
    )
    expect(answers.map(({ kind }) => kind)).toEqual([
      'confirmed',
      'refused',
      'refused',
      'confirmed',
    ])
  })

  test('a transaction that holds a key holds up the publishing of that key only', async () => {
    await using harness = await queueHarness()
    const { schema } = harness.database
    const queue = harness.queue()
    await queue.subscribe('q', [])
    const holder = await harness.database.pool.connect()
    await holder.query('begin')
    await holder.query(`select ${schema}.queue_lock(array['held'], true)`)
    const [held, behind, other] = queue.publish([
      message('1', { partitionKey: 'held' }),
      message('2', { partitionKey: 'held' }),
      message('3', { partitionKey: 'free' }),
    ])
    expect(await other).toEqual({ kind: 'confirmed' })
    await holder.query('commit')
    holder.release()
    expect(await Promise.all([held, behind])).toEqual([
      { kind: 'confirmed' },
      { kind: 'confirmed' },
    ])
  })

  test.each([
    [{ schema: 'a-b' }, 'schema'],
    [{ visibilityMs: 1 }, 'visibilityMs'],
    [{ straight: 'no' as unknown as boolean }, 'straight'],
    [{ poll: 1 }, 'poll'],
    [{ pool: {} as never }, 'pool'],
    [{ migrate: 'yes' as never }, 'migrate'],
  ])('the options %j are refused, naming the field', (given, field) => {
    expect(() =>
      postgresQueue({
        pool: { connect: () => {}, on: () => {}, off: () => {}, end: () => {} } as never,
        ...given,
      }),
    ).toThrow(new RegExp(`postgresQueue\\.${field}`))
  })

  test('a queue or a topic whose name cannot travel is refused', async () => {
    await using harness = await queueHarness()
    const queue = harness.queue()
    for (const name of ['', 'a b', '-a', 'x'.repeat(201)]) {
      await expect(queue.subscribe(name, [])).rejects.toMatchObject({
        code: 'MERSAL_INVALID_OPTIONS',
      })
      await expect(queue.subscribe('q', [name])).rejects.toMatchObject({
        code: 'MERSAL_INVALID_OPTIONS',
      })
    }
  })

  test('migrate: twenty nodes at once, check and off, a schema of the future, and the printed SQL', async () => {
    await using harness = await queueHarness()
    const { schema, query } = harness.database
    await expect(harness.queue({ migrate: 'check' }).subscribe('q', [])).rejects.toMatchObject({
      code: 'MERSAL_SCHEMA_MISSING',
    })
    await expect(harness.queue({ migrate: 'off' }).subscribe('q', [])).rejects.toMatchObject({
      code: 'MERSAL_SCHEMA_MISSING',
    })
    await Promise.all(Array.from({ length: 20 }, () => harness.queue().subscribe('q', ['t'])))
    const steps = [{ version: 1 }, { version: 2 }, { version: 3 }]
    expect(await query(`select version from ${schema}.queue_migration order by version`)).toEqual(
      steps,
    )
    await harness.queue({ migrate: 'check' }).subscribe('q', [])
    await query(`insert into ${schema}.queue_migration values (99, 'of the future')`)
    await expect(harness.queue().subscribe('q', [])).rejects.toMatchObject({
      code: 'MERSAL_SCHEMA_TOO_NEW',
    })
    await using other = await testDatabase()
    await other.query(postgresQueueMigrationSql({ schema: other.schema }))
    await using printed = postgresQueue({
      pool: other.pool,
      schema: other.schema,
      migrate: 'check',
      logger: silentLogger,
    })
    await printed.subscribe('q', [])
  })

  test.skipIf(!pooler)(
    'behind a pooler in transaction mode everything works, by polling, with one warning',
    async () => {
      await using bouncer = await pgbouncer(serverUrl)
      await using harness = await queueHarness()
      const { logger, warnings } = collecting()
      const pool = harness.database.newPool({ connectionString: bouncer.url })
      const queue = harness.queue({ pool, logger, pollIntervalMs: 50 })
      await queue.subscribe('q', ['t'])
      for (const label of ['1', '2', '3']) {
        await Promise.all(harness.queue().publish([message(label, { partitionKey: 'k' })]))
        expect((await consume(queue, 'q', 1)).map(({ message: { type } }) => type)).toEqual([
          `test.${label}`,
        ])
      }
      while (warnings.length === 0) await sleep(5)
      expect(warnings).toEqual([expect.stringContaining('pooler in transaction mode')])
    },
  )
})
