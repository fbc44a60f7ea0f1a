import { afterEach, describe, expect, test } from 'vitest'
import { silentLogger } from '../../../src/core/telemetry.ts'
import { systemClock } from '../../../src/lib/async/clock.ts'
import { uuidv7 } from '../../../src/lib/uuid.ts'
import { createRelay } from '../../../src/outbox/relay.ts'
import { relaySettings } from '../../../src/outbox/options.ts'
import type { Relay } from '../../../src/outbox/types.ts'
import type { PostgresClient, PostgresStore } from '../../../src/postgres.ts'
import { serverAnswers, serverUrl } from '../../postgres/database.ts'
import { message, newToken } from '../../postgres/messages.ts'
import { storeHarness, type StoreHarness } from '../../postgres/store-harness.ts'
import { refusedForGood, type TestTransport, testTransport } from '../../unit/outbox/support.ts'

const present = await serverAnswers()

const relays: Relay[] = []
afterEach(async () => {
  for (const relay of relays.splice(0)) await relay.stop({ graceMs: 100 })
})

/** A relay that gives up what is called `poison`. */
function relayOn(store: PostgresStore<PostgresClient>): TestTransport {
  const transport = testTransport()
  transport.behaviour = ({ type }) =>
    type.includes('poison') ? refusedForGood : { kind: 'confirmed' }
  const relay = createRelay({
    environment: {
      app: 'test',
      logger: silentLogger,
      clock: systemClock,
      random: Math.random,
      newToken: () => uuidv7(Date.now()),
    },
    storage: store.outbox,
    transports: new Map([['default', transport]]),
    settings: relaySettings({ pollIntervalMs: 100 }),
  })
  relay.start()
  relays.push(relay)
  return transport
}

async function add(
  store: PostgresStore<PostgresClient>,
  ...labels: readonly string[]
): Promise<void> {
  await store.unitOfWork((tx) =>
    store.outbox.save(
      tx,
      labels.map((label) => message(label)),
    ),
  )
}

function as(role: string): string {
  const url = new URL(serverUrl)
  url.username = role
  return url.href
}

const many = (name: string, count: number): string[] =>
  Array.from({ length: count }, (_, index) => `${name}${index}`)

const left = async ({ database: { schema, query } }: StoreHarness): Promise<string[]> =>
  (await query(`select type from ${schema}.outbox order by position`)).map(({ type }) =>
    String(type),
  )

/** What the role of `current_user` may do is taken away by a trigger, as a missing right would. */
async function refuseInserts(
  { database: { schema, query } }: StoreHarness,
  table: string,
): Promise<void> {
  await query(`create function ${schema}.refuse() returns trigger language plpgsql as
    $$ begin raise exception using errcode = '42501', message = 'permission denied for table ${table}'; end $$`)
  await query(
    `create trigger refuse before insert on ${schema}.${table} for each row execute function ${schema}.refuse()`,
  )
}

describe.skipIf(!present)('settlements that PostgreSQL refuses', () => {
  test('P8: a dead letter with the position that a new row gets, as a restore of the data alone leaves it, stops nothing', async () => {
    await using harness = await storeHarness()
    await using store = await harness.open()
    const { schema, query } = harness.database
    await query(
      `insert into ${schema}.dead (position, id, attempts, type, transport, kind, name, headers, body, added_at, error, died_at, dead_reason, maybe_published)
       select g, gen_random_uuid(), 1, 'old', 'default', 'queue', 'q', '{}', '', now(), '', now(), 'refused', false from generate_series(1, 400) g`,
    )
    const transport = relayOn(store)
    await add(store, ...many('a', 150), 'poison', ...many('b', 180))
    await expect.poll(() => transport.published.length, { timeout: 20_000 }).toBe(331)
    await expect.poll(() => left(harness), { timeout: 10_000 }).toEqual([])
    const letters = await store.admin.deadLetters.list({ limit: 1000 })
    expect(letters).toHaveLength(401)
    expect(new Set(letters.map(({ key }) => key)).size).toBe(401)
    const twins = letters.filter(({ key }) => key.split('.')[0] === '151')
    expect(twins.map(({ type }) => type).toSorted()).toEqual(['old', 'test.poison'])
    const poison = twins.find(({ type }) => type === 'test.poison')!
    expect(await store.admin.deadLetters.discard([poison.key])).toBe(1)
    expect(
      (await store.admin.deadLetters.list({ limit: 1000 })).filter(({ type }) => type === 'old'),
    ).toHaveLength(400)
  })

  test('P8: where nothing may be inserted into the dead letters, everything else is published, once, and the letter comes later', async () => {
    await using harness = await storeHarness()
    await using store = await harness.open()
    const { schema, query } = harness.database
    await refuseInserts(harness, 'dead')
    const transport = relayOn(store)
    await add(store, ...many('a', 50), ...many('poison', 20), ...many('b', 50))
    await expect.poll(() => transport.published.length, { timeout: 20_000 }).toBe(120)
    await expect.poll(async () => (await left(harness)).length, { timeout: 10_000 }).toBe(20)
    await add(store, ...many('later', 100))
    await expect.poll(() => transport.published.length, { timeout: 20_000 }).toBe(220)
    await expect.poll(async () => (await left(harness)).length, { timeout: 10_000 }).toBe(20)
    const aside = await query(
      `select count(*)::int as n, bool_and(token is null and visible_at > now() + interval '4 minutes') as far, min(error) as error from ${schema}.outbox`,
    )
    expect(aside[0]).toMatchObject({
      n: 20,
      far: true,
      error: expect.stringContaining('permission denied') as string,
    })
    await query(`drop trigger refuse on ${schema}.dead`)
    await query(`update ${schema}.outbox set visible_at = now()`)
    await expect.poll(async () => (await store.admin.stats()).dead, { timeout: 10_000 }).toBe(20)
  })

  test('P6: where nothing may be kept, published messages leave the outbox, each published once', async () => {
    await using harness = await storeHarness()
    await using store = await harness.open({ keepSentMs: 86_400_000 })
    const { schema, query } = harness.database
    await store.outbox.prune({ limit: 1 })
    await refuseInserts(harness, 'sent')
    const transport = relayOn(store)
    await add(store, ...many('a', 30))
    await expect.poll(() => left(harness), { timeout: 20_000 }).toEqual([])
    expect(transport.published).toHaveLength(30)
    expect(await query(`select from ${schema}.sent`)).toHaveLength(0)
  })

  test('P6: with a role that may not make the partitions of kept messages, each is published once', async () => {
    await using harness = await storeHarness()
    await using owner = await harness.open()
    const { schema, query } = harness.database
    const role = `${schema}_role`
    await query(`create role ${role} login`)
    try {
      await query(`grant usage on schema ${schema} to ${role}`)
      await query(
        `grant select, insert, update, delete on all tables in schema ${schema} to ${role}`,
      )
      await using store = await harness.open({
        pool: harness.database.newPool({ connectionString: as(role) }),
        keepSentMs: 86_400_000,
        migrate: 'check',
      })
      const transport = relayOn(store)
      await add(owner, ...many('a', 5))
      await expect.poll(() => left(harness), { timeout: 20_000 }).toEqual([])
      expect(transport.published).toHaveLength(5)
    } finally {
      for (const relay of relays.splice(0)) await relay.stop({ graceMs: 1000 })
      await query(`drop owned by ${role}`)
      await query(`drop role ${role}`)
    }
  })

  test('a damaged row that cannot become a dead letter lets the others be claimed', async () => {
    await using harness = await storeHarness()
    await using store = await harness.open({ logger: silentLogger })
    const { schema, query } = harness.database
    await refuseInserts(harness, 'dead')
    await add(store, 'a', 'damaged', 'b')
    await query(`update ${schema}.outbox set headers = '[]' where type = 'test.damaged'`)
    const rows = await store.outbox.claim({ limit: 10, claimMs: 60_000, token: newToken() })
    expect(rows.map((row) => row.message.type)).toEqual(['test.a', 'test.b'])
    const [aside] = await query(
      `select token, attempts, visible_at > now() + interval '4 minutes' as far from ${schema}.outbox where headers = '[]'`,
    )
    expect(aside).toEqual({ token: null, attempts: 0, far: true })
  })
})
