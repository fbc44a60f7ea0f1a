import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { command, event, Mersal, reject, type Transport } from '../../src/index.ts'
import { memoryTransport } from '../../src/memory.ts'
import { postgres, postgresQueue } from '../../src/postgres.ts'
import { rabbitmq } from '../../src/rabbitmq.ts'
import { sqliteQueue } from '../../src/sqlite.ts'
import { serverAnswers, testDatabase } from '../postgres/database.ts'
import { openVhost, rabbitIsHere } from '../rabbitmq/broker.ts'

const Happened = event<{ n: number }>('things.happened')
const Do = command<{ n: number }>('things.do')

interface Place extends AsyncDisposable {
  readonly open: () => Transport
  /** Whether the queue of this name is there. */
  readonly has: (queue: string) => Promise<boolean>
}

async function onRabbitmq(queueType: 'classic' | 'quorum'): Promise<Place> {
  const place = await openVhost()
  const { url } = place
  return {
    open: () => rabbitmq({ url, queueType, newQueuePauseMs: 0, logger: false }),
    has: async (queue) =>
      [...(await place.queues()), ...(await place.bindings()).map((each) => each.queue)].some(
        (name) => name.startsWith(queue),
      ),
    [Symbol.asyncDispose]: () => place[Symbol.asyncDispose](),
  }
}

const places: Record<string, () => Promise<Place>> = {
  SQLite: async () => {
    const folder = mkdtempSync(join(tmpdir(), 'mersal-remove-'))
    const open = () => sqliteQueue({ path: join(folder, 'queue.db'), pollIntervalMs: 20 })
    return {
      open,
      has: (queue) => listed(open, queue),
      [Symbol.asyncDispose]: async () => rmSync(folder, { recursive: true }),
    }
  },
}
if (await serverAnswers())
  places['PostgreSQL'] = async () => {
    const { pool, schema, ...database } = await testDatabase()
    const open = () => postgresQueue({ pool, schema })
    return {
      open,
      has: (queue) => listed(open, queue),
      [Symbol.asyncDispose]: database[Symbol.asyncDispose],
    }
  }
if (await rabbitIsHere()) {
  places['RabbitMQ, classic'] = () => onRabbitmq('classic')
  places['RabbitMQ, quorum'] = () => onRabbitmq('quorum')
}

async function listed(
  open: () => ReturnType<typeof sqliteQueue> | ReturnType<typeof postgresQueue>,
  queue: string,
): Promise<boolean> {
  await using transport = open()
  return (await transport.operations.queues({ names: [] })).some((one) => one.queue === queue)
}

const logger = false

/** An app that has handled a command and an event, each in two tries. */
async function liveOnce(place: Place): Promise<Mersal> {
  const app = new Mersal({
    name: 'brief',
    transport: place.open(),
    logger,
    receive: { immediateRetries: 0, backoff: { firstMs: 1, longestMs: 1 } },
  })
  const seen = Promise.withResolvers<void>()
  let tries = 0
  app.handle(Do, async ({ n }, { publish }) => {
    if (++tries === 1) throw new Error('not yet')
    await publish(Happened, { n })
  })
  app.handle(Happened, () => seen.resolve())
  await app.start()
  await app.direct.sendLocal(Do, { n: 1 })
  await seen.promise
  return app
}

describe.each(Object.keys(places))(
  'an app on %s that removes its queue when it stops',
  { timeout: 240_000 },
  (kind) => {
    test('leaves nothing behind, and its events find no subscriber any more', async () => {
      await using place = await places[kind]!()
      const app = await liveOnce(place)
      expect(await place.has('brief')).toBe(true)
      await app.stop({ removeQueue: true })
      expect(await place.has('brief')).toBe(false)
      await using other = new Mersal({ name: 'other', transport: place.open(), logger })
      await other.start()
      await expect(other.direct.publish(Happened, { n: 2 })).rejects.toMatchObject({
        code: 'MERSAL_UNROUTABLE',
      })
      await other.stop({ removeQueue: true })
      const again = await liveOnce(place)
      await again.stop()
      expect(await place.has('brief')).toBe(true)
    })

    test('keeps it with all that is in it, and says so, where a message or a dead letter would be lost', async () => {
      await using place = await places[kind]!()
      const dying = new Mersal({ name: 'brief', transport: place.open(), logger })
      const rejected = Promise.withResolvers<void>()
      dying.handle(Do, () => {
        setImmediate(rejected.resolve)
        reject('no')
      })
      await dying.start()
      await dying.direct.sendLocal(Do, { n: 1 })
      await rejected.promise
      await expect(dying.stop({ removeQueue: true })).rejects.toMatchObject({
        code: 'MERSAL_QUEUE_KEPT',
      })
      expect(await place.has('brief')).toBe(true)

      await using sender = new Mersal({
        name: 'sender',
        transport: place.open(),
        routes: { 'things.do': 'waiting' },
        logger,
      })
      await sender.start()
      await using transport = place.open()
      await transport.subscribe('waiting', [])
      await sender.direct.send(Do, { n: 1 })
      expect(await transport.removeQueue!('waiting')).toMatchObject({
        kind: 'kept',
        why: expect.stringContaining('waiting') as string,
      })
      const waited = Promise.withResolvers<void>()
      await using consumer = await transport.consume(
        { queue: 'waiting', concurrency: 1 },
        async () => {
          waited.resolve()
          return { kind: 'ack' }
        },
      )
      await waited.promise
      await consumer[Symbol.asyncDispose]()
      expect(await transport.removeQueue!('waiting')).toEqual({ kind: 'removed' })
      expect(await transport.removeQueue!('never-there'), 'there is none').toEqual({
        kind: 'removed',
      })
    })
  },
)

describe.runIf('RabbitMQ, quorum' in places)('on RabbitMQ', { timeout: 240_000 }, () => {
  test.each(['classic', 'quorum'] as const)(
    'a %s queue that another process reads is kept',
    async (type) => {
      await using place = await onRabbitmq(type)
      const app = await liveOnce(place)
      await using other = new Mersal({ name: 'brief', transport: place.open(), logger })
      await other.start()
      await expect(app.stop({ removeQueue: true })).rejects.toMatchObject({
        code: 'MERSAL_QUEUE_KEPT',
      })
      expect(await place.has('brief')).toBe(true)
      await other.stop()
    },
  )
})

describe.runIf('PostgreSQL' in places)('on PostgreSQL', { timeout: 240_000 }, () => {
  test('a queue is not removed under a transaction that has put a message into it and has not committed yet', async () => {
    await using database = await testDatabase()
    const { pool, schema } = database
    await using sender = new Mersal({
      name: 'sender',
      store: postgres({ pool, schema }),
      transport: postgresQueue({ pool, schema }),
      routes: { 'things.do': 'brief' },
      logger,
    })
    await sender.start()
    await using queue = postgresQueue({ pool, schema })
    await queue.subscribe('brief', [])
    const client = await pool.connect()
    await client.query('BEGIN')
    await sender.within(client as never).send(Do, { n: 1 })
    // The message cannot be seen yet; only the lock tells of it.
    await expect(queue.removeQueue!('brief')).rejects.toMatchObject({ name: 'MersalError' })
    await client.query('COMMIT')
    client.release()
    expect(await queue.removeQueue!('brief')).toMatchObject({ kind: 'kept' })
    expect(await queue.operations.queues({ names: [] })).toContainEqual({
      queue: 'brief',
      dead: 0,
      waiting: 1,
    })
  })
})

test('an app that has no queue, or whose transport cannot remove any, is told before it stops', async () => {
  const app = new Mersal({ name: 'brief', transport: memoryTransport() })
  await app.start()
  await expect(app.stop({ removeQueue: true })).rejects.toThrow(
    "the transport 'memory' cannot remove queues",
  )
  expect(app.state).toBe('running')
  await app.stop()
  const sender = new Mersal({
    name: 'brief',
    transport: sqliteQueue({ path: ':memory:' }),
    sendOnly: true,
  })
  await expect(sender.stop({ removeQueue: true })).rejects.toThrow('this app only sends')
  await sender.stop()
})
