import { randomBytes } from 'node:crypto'
import { Client } from 'pg'
import { describe, expect, test } from 'vitest'
import { silentLogger } from '../../../src/core/telemetry.ts'
import { type PostgresClient, postgresQueue, type PostgresStore } from '../../../src/postgres.ts'
import { serverAnswers, serverUrl, testDatabase } from '../../postgres/database.ts'
import { claim, labelOf, message, sent } from '../../postgres/messages.ts'
import { storeHarness, type StoreHarness } from '../../postgres/store-harness.ts'

const present = await serverAnswers()
const DAY_MS = 86_400_000

const add = (store: PostgresStore<PostgresClient>, label: string): Promise<unknown> =>
  store.unitOfWork((tx) => store.outbox.save(tx, [message(label, 'k')]))

/** As a restore of the data alone, or logical replication, leaves it. */
async function setBack({ database: { schema, query } }: StoreHarness): Promise<void> {
  await query(`select setval(pg_get_serial_sequence('${schema}.outbox', 'position'), 1, false)`)
}

async function doctor(
  store: PostgresStore<PostgresClient>,
): Promise<{ level: string; subject: string; text: string; remedy?: string }[]> {
  const findings = (await store.operations?.examine?.()) ?? []
  return findings.filter(({ level, subject }) => level !== 'ok' && /positions|tables/.test(subject))
}

/** A database of its own: a publication of all tables concerns everybody in it. */
async function ownDatabase(): Promise<{ url: string } & AsyncDisposable> {
  const name = `mersal_test_${randomBytes(6).toString('hex')}`
  const run = async (text: string): Promise<void> => {
    const client = new Client({ connectionString: serverUrl })
    await client.connect()
    await client.query(text)
    await client.end()
  }
  await run(`create database ${name}`)
  const url = new URL(serverUrl)
  url.pathname = `/${name}`
  return { url: url.href, [Symbol.asyncDispose]: () => run(`drop database ${name} with (force)`) }
}

describe.skipIf(!present)('the tables on PostgreSQL after others have been there', () => {
  test('P5: a sequence behind its rows is set to them when a store opens, so that what is sent next comes last', async () => {
    await using harness = await storeHarness()
    await using before = await harness.open()
    for (const label of ['1', '2', '3']) await add(before, label)
    await setBack(harness)
    await using store = await harness.open({ logger: silentLogger })
    for (const label of ['4', '5']) await add(store, label)
    expect((await claim(store)).map(labelOf)).toEqual(['1', '2', '3', '4', '5'])
    expect(await doctor(store)).toEqual([])
  })

  test('P5: a sequence that falls behind while a store is open fails the sender, who is told the cure, as doctor tells it', async () => {
    await using harness = await storeHarness()
    await using store = await harness.open()
    await add(store, '1')
    await setBack(harness)
    const failed = expect.objectContaining({
      code: 'MERSAL_STORE_UNSAFE',
      message: expect.stringContaining('select setval(') as string,
    })
    await expect(add(store, '2')).rejects.toEqual(failed)
    await setBack(harness)
    const [finding] = await doctor(store)
    expect(finding).toMatchObject({
      level: 'fault',
      subject: 'postgres positions',
      text: expect.stringContaining('behind the rows') as string,
    })
    await harness.database.query(finding?.remedy?.replace('stop what sends, then run: ', '') ?? '')
    await add(store, '2')
    expect((await claim(store)).map(labelOf)).toEqual(['1', '2'])
  })

  test('P5: a role that may not set the sequence is told so at the start, with the statement', async () => {
    await using harness = await storeHarness()
    await using owner = await harness.open()
    await add(owner, '1')
    await setBack(harness)
    const { schema, query } = harness.database
    const role = `${schema}_role`
    await query(`create role ${role} login; grant usage on schema ${schema} to ${role};
      grant select, insert, update, delete on all tables in schema ${schema} to ${role}; grant usage, select on all sequences in schema ${schema} to ${role}`)
    try {
      const url = new URL(serverUrl)
      url.username = role
      await expect(
        harness.open({ pool: harness.database.newPool({ connectionString: url.href }) }),
      ).rejects.toMatchObject({
        code: 'MERSAL_STORE_UNSAFE',
        message: expect.stringContaining('select setval(') as string,
      })
    } finally {
      await query(`drop owned by ${role}; drop role ${role}`)
    }
  })

  test('P2: a sequence that falls behind while a queue is open is no fault of the message, and its sender is told the cure', async () => {
    await using harness = await storeHarness()
    const { schema, query } = harness.database
    await using queue = postgresQueue({
      pool: harness.database.newPool(),
      schema,
      logger: silentLogger,
    })
    await queue.subscribe('q', [])
    const to = { transport: 'default', kind: 'queue', name: 'q' } as const
    const put = (label: string) => Promise.all(queue.publish([{ ...message(label, 'k'), to }]))
    expect(await put('1')).toEqual([{ kind: 'confirmed' }])
    await query(
      `select setval(pg_get_serial_sequence('${schema}.queue_message', 'position'), 1, false)`,
    )
    expect(await put('2')).toMatchObject([
      {
        kind: 'unavailable',
        error: {
          code: 'MERSAL_STORE_UNSAFE',
          message: expect.stringContaining('select setval(') as string,
        },
      },
    ])
    const rows = await query(`select type from ${schema}.queue_message`)
    expect(rows.map(({ type }) => type)).toEqual(['test.1'])
  })

  test('P5: a sequence behind the messages of a queue is set to them when the queue opens', async () => {
    await using harness = await storeHarness()
    const { schema, query } = harness.database
    const put = async (label: string): Promise<unknown> => {
      await using queue = postgresQueue({
        pool: harness.database.newPool(),
        schema,
        logger: silentLogger,
      })
      await queue.subscribe('q', [])
      return await Promise.all(
        queue.publish([
          { ...message(label, 'k'), to: { transport: 'default', kind: 'queue', name: 'q' } },
        ]),
      )
    }
    await put('1')
    await put('2')
    await query(
      `select setval(pg_get_serial_sequence('${schema}.queue_message', 'position'), 1, false)`,
    )
    expect(await put('3')).toEqual([{ kind: 'confirmed' }])
    const rows = await query(`select type from ${schema}.queue_message order by position`)
    expect(rows.map(({ type }) => type)).toEqual(['test.1', 'test.2', 'test.3'])
  })

  test.each([
    ['a sequence with a cache', 'alter sequence S.outbox_position_seq cache 20', /cache 20/],
    ['a sequence that cycles', 'alter sequence S.outbox_position_seq cycle', /cycles/],
    ['an unlogged table', 'alter table S.dead set unlogged', /dead: unlogged/],
    [
      'row-level security',
      'alter table S.inbox enable row level security',
      /inbox: row-level security/,
    ],
    [
      'a table that cannot name its rows',
      'alter table S.pause replica identity nothing',
      /pause: no primary key/,
    ],
    [
      'a trigger that may return null',
      'create function S.nothing() returns trigger language plpgsql as $$ begin return null; end $$; create trigger t before delete on S.outbox for each row execute function S.nothing()',
      /outbox: triggers/,
    ],
  ])('doctor says: %s', async (_name, change, says) => {
    await using harness = await storeHarness()
    await using store = await harness.open()
    expect(await doctor(store)).toEqual([])
    await harness.database.query(change.replaceAll('S.', `${harness.database.schema}.`))
    const findings = await doctor(store)
    expect(findings.map(({ text }) => text)).toEqual([expect.stringMatching(says)])
    expect(findings[0]?.remedy).toBeTruthy()
  })

  test('under a publication of all tables, kept messages are replayed and pruned, and every other table takes its changes', async () => {
    await using own = await ownDatabase()
    await using harness = await storeHarness(testDatabase(own.url))
    await using store = await harness.open({ keepSentMs: 1000 })
    await harness.database.query('create publication everything for all tables')
    for (const label of ['1', '2']) await add(store, label)
    await store.outbox.settle((await claim(store)).map(sent))
    expect(
      await store.operations?.kept?.replay({ type: 'test.1' }, { limit: 10, newIds: false }),
    ).toBe(1)
    await harness.elapse(1100)
    expect(await store.outbox.prune({ limit: 10 })).toBe(1)
    const [row] = await claim(store)
    if (row === undefined) throw new Error('nothing to claim')
    await store.outbox.settle([
      {
        kind: 'dead',
        position: row.position,
        token: row.token,
        reason: 'refused',
        error: new Error('no'),
        onDead: 'skip',
        maybePublished: false,
      },
    ])
    const [letter] = await store.admin.deadLetters.list()
    expect(await store.admin.deadLetters.discard([letter?.key ?? ''])).toBe(1)
    const pause = { kind: 'key', name: 'k' } as const
    await store.operations?.pauses?.pause(pause, 'a while')
    expect(await store.operations?.pauses?.resume(pause)).toBe(true)
    await store.unitOfWork((tx) => store.tracker.track(tx, { consumer: 'c', messageId: 'm' }))
    await harness.elapse(10)
    expect(await store.tracker.prune({ olderThanMs: 1, limit: 10 })).toBe(1)
    expect(await doctor(store)).toEqual([])
  })

  test('P10: while somebody reads the kept messages, old days wait and new ones are made, and settling goes on', async () => {
    await using harness = await storeHarness()
    await using store = await harness.open({ keepSentMs: 3 * DAY_MS })
    const { schema, query, pool } = harness.database
    await store.outbox.prune({ limit: 1 })
    await query(
      `create table ${schema}.sent_20200101 partition of ${schema}.sent for values from ('2020-01-01Z') to ('2020-01-02Z')`,
    )
    const [tomorrow] = await query(
      `select max(relname) as name from pg_class where relname like 'sent_2%' and relnamespace = '${schema}'::regnamespace`,
    )
    await query(`drop table ${schema}.${String(tomorrow?.['name'])}`)
    const reader = await pool.connect()
    await reader.query(`begin; select count(*) from ${schema}.sent`)
    for (const label of ['1', '2', '3']) await add(store, label)
    const rows = await claim(store)
    const started = performance.now()
    const pruned = store.outbox.prune({ limit: 10 })
    for (const row of rows) await store.outbox.settle([sent(row)])
    expect(await pruned).toBe(0)
    expect(performance.now() - started).toBeLessThan(3000)
    const partitions = async (): Promise<string[]> =>
      (
        await query(
          `select inhrelid::regclass::text as name from pg_inherits where inhparent = '${schema}.sent'::regclass order by 1`,
        )
      ).map(({ name }) => String(name))
    expect(await partitions()).toEqual(
      expect.arrayContaining([
        expect.stringContaining('sent_20200101'),
        expect.stringContaining(String(tomorrow?.['name'])),
      ]),
    )
    await reader.query('rollback')
    reader.release()
    await store.outbox.prune({ limit: 10 })
    expect((await partitions()).filter((name) => name.includes('2020'))).toEqual([])
    expect(await query(`select count(*)::int as n from ${schema}.sent`)).toEqual([{ n: 3 }])
  })
})
