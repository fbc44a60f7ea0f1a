import { describe, expect, test } from 'vitest'
import { memoryTransport } from '../../../src/memory.ts'
import { serverAnswers } from '../../postgres/database.ts'
import { Happened, queueHarness, Work } from '../../postgres/queue-harness.ts'

const present = await serverAnswers()
/** Nothing is found by polling. */
const NEVER = 3_600_000
const silentRelay = { outbox: { runRelay: false } } as const
const toOffice = { routes: { 'test.work': 'office' } } as const

describe.skipIf(!present)(
  'straight into the queue, where outbox and queue are in one schema',
  () => {
    test('P1: a message is in its queue if and only if the transaction of its sender commits, and never in the outbox', async () => {
      await using harness = await queueHarness()
      const { app } = harness.app('desk', { app: { ...toOffice, ...silentRelay } })
      await harness.queue().subscribe('office', ['test.happened'])
      await app.start()
      await expect(
        app.transaction(async (_tx, { send }) => {
          await send(Work, { label: 'gone' })
          throw new Error('rolled back')
        }),
      ).rejects.toThrow('rolled back')
      await app.transaction(async (tx, { send, publish }) => {
        await tx.query(`insert into ${harness.database.schema}.business values ('kept')`)
        await send(Work, { label: 'kept' }, { partitionKey: 'k', headers: { note: 'ключ' } })
        await publish(Happened, { label: 'told' })
      })
      // One event, two queues: that of the app itself is subscribed as well.
      expect([await harness.rows('queue_message'), await harness.rows('outbox')]).toEqual([
        ['kept', 'told', 'told'],
        [],
      ])
      const [row] = await harness.database.query(
        `select key, headers, attempts, token from ${harness.database.schema}.queue_message limit 1`,
      )
      expect(row).toMatchObject({ key: 'k', attempts: 0, token: null })
      expect(JSON.parse(String(row?.['headers']))).toMatchObject({ note: 'ключ', sender: 'desk' })
    })

    test('it is handled at once, by the app itself and by another one, with no relay and no polling', async () => {
      await using harness = await queueHarness()
      const [here, there] = ['desk', 'office'].map((name) =>
        harness.app(name, { queue: { pollIntervalMs: NEVER }, app: silentRelay }),
      )
      await here?.app.start()
      await there?.app.start()
      // One that is still about to listen looks as soon as it does.
      for (const label of ['1', '2', '3']) {
        await here?.app.transaction((_tx, { publish }) => publish(Happened, { label }))
        await here?.seen(Number(label))
        await there?.seen(Number(label))
      }
      expect(await harness.rows('outbox')).toEqual([])
    })

    test('in a transaction that somebody else owns, too; consumers are reminded, since its commit is not seen', async () => {
      await using harness = await queueHarness()
      const desk = harness.app('desk', { queue: { pollIntervalMs: NEVER }, app: silentRelay })
      await desk.app.start()
      const client = await harness.database.pool.connect()
      await client.query('begin')
      await desk.app.within(client).publish(Happened, { label: 'foreign' })
      expect(await harness.rows('outbox')).toEqual([])
      await client.query('commit')
      client.release()
      await desk.seen(1)
    })

    test('with straight: false, and with the queue in another schema, messages take the way over the outbox', async () => {
      await using harness = await queueHarness()
      await using elsewhere = await queueHarness()
      for (const queue of [{ straight: false }, { schema: elsewhere.database.schema }]) {
        const { app } = harness.app('desk', { queue, app: { ...silentRelay, sendOnly: true } })
        await app.start()
        await app.transaction((_tx, { publish }) =>
          publish(Happened, { label: JSON.stringify(Object.keys(queue)) }),
        )
      }
      expect(await harness.rows('outbox')).toEqual(['["straight"]', '["schema"]'])
    })

    test('what has no queue yet, or goes to another transport, is in the outbox; what follows with its key waits behind it', async () => {
      await using harness = await queueHarness()
      const routes = { 'test.happened': { transport: 'far' }, 'test.work': 'office' }
      const { app } = harness.app('desk', {
        app: { ...silentRelay, sendOnly: true, routes, bridges: { far: memoryTransport() } },
      })
      await app.start()
      const send = (label: string, partitionKey?: string): Promise<string> =>
        app.transaction((_tx, sender) =>
          sender.send(Work, { label }, partitionKey === undefined ? {} : { partitionKey }),
        )
      await send('no queue yet', 'k')
      await harness.queue().subscribe('office', [])
      await send('behind it', 'k')
      await send('other key', 'l')
      await send('no key')
      await app.transaction(async (_tx, sender) => {
        await sender.send(Work, { label: 'first' }, { partitionKey: 'm' })
        await sender.publish(Happened, { label: 'far' }, { partitionKey: 'm' })
        await sender.send(Work, { label: 'behind far' }, { partitionKey: 'm' })
      })
      await send('behind far, too', 'm')
      expect(await harness.rows('queue_message')).toEqual(['other key', 'no key', 'first'])
      expect(await harness.rows('outbox')).toEqual([
        'no queue yet',
        'behind it',
        'far',
        'behind far',
        'behind far, too',
      ])
    })

    test('above READ COMMITTED, where nobody can look behind the lock of the key, keyed messages take the outbox', async () => {
      await using harness = await queueHarness()
      const { app } = harness.app('desk', {
        store: { isolation: 'serializable' },
        app: { ...silentRelay, ...toOffice, sendOnly: true },
      })
      await harness.queue().subscribe('office', [])
      await app.start()
      await app.transaction(async (_tx, { send }) => {
        await send(Work, { label: 'keyed' }, { partitionKey: 'k' })
        await send(Work, { label: 'free' })
      })
      expect([await harness.rows('queue_message'), await harness.rows('outbox')]).toEqual([
        ['free'],
        ['keyed'],
      ])
    })

    test('P5: whoever sends with a key waits for the transaction that has sent with it before, in whatever order they commit', async () => {
      await using harness = await queueHarness()
      const { app } = harness.app('desk', { app: { ...silentRelay, ...toOffice, sendOnly: true } })
      await harness.queue().subscribe('office', [])
      await app.start()
      const first = await harness.database.pool.connect()
      await first.query('begin')
      await app.within(first).send(Work, { label: 'first' }, { partitionKey: 'k' })
      const second = (partitionKey: string): Promise<string> =>
        app.transaction(async (tx, { send }) => {
          await tx.query(`set local lock_timeout = '100ms'`)
          return await send(Work, { label: partitionKey }, { partitionKey })
        })
      await expect(second('k')).rejects.toMatchObject({ code: '55P03' })
      await second('other')
      await first.query('commit')
      first.release()
      await second('k')
      expect(await harness.rows('queue_message')).toEqual(['first', 'other', 'k'])
    })

    test('a delayed message waits in the outbox, is not delivered before its time, and holds back its key', async () => {
      await using harness = await queueHarness()
      const desk = harness.app('desk', { queue: { pollIntervalMs: 20 } })
      await desk.app.start()
      await desk.app.transaction(async (_tx, { sendLocal }) => {
        await sendLocal(Work, { label: 'late' }, { delayMs: 300, partitionKey: 'k' })
        await sendLocal(Work, { label: 'behind' }, { partitionKey: 'k' })
        await sendLocal(Work, { label: 'soon' })
      })
      await desk.seen(3)
      expect(desk.handled).toEqual(['soon', 'late', 'behind'])
    })

    test('an unknown schema of the queue fails the transaction, and says what to do', async () => {
      await using harness = await queueHarness()
      const { app } = harness.app('desk', { app: { ...silentRelay, ...toOffice, sendOnly: true } })
      await app.start()
      await harness.database.query(`drop function ${harness.database.schema}.queue_put`)
      await expect(
        app.transaction((_tx, { send }) => send(Work, { label: 'lost' })),
      ).rejects.toMatchObject({ code: 'MERSAL_SCHEMA_MISSING' })
    })
  },
)
